'use strict';
// Writes LINES lines to each of stdout and stderr and a last one without a newline,
// then ends at once in the way its second argument says.

const fs = require('node:fs');

const [, , lines, end] = process.argv;
for (let i = 0; i < Number(lines); i += 1) {
  fs.writeSync(1, `out ${i} ${'x'.repeat(i % 100)}\n`);
  fs.writeSync(2, `err ${i}\n`);
}
fs.writeSync(1, 'the last of stdout');
fs.writeSync(2, 'the last of stderr');
if (end === 'kill') process.kill(process.pid, 'SIGKILL');
process.exit(7);
