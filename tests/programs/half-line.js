'use strict';
// Begins a line on each stream before it listens, and ends both on SIGUSR1.

const fs = require('node:fs');

for (const fd of [1, 2]) fs.writeSync(fd, `half ${fd} `);
process.on('SIGUSR1', () => {
  for (const fd of [1, 2]) fs.writeSync(fd, 'and the other half\n');
});
const server = require('node:http').createServer((request, response) => response.end());
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
