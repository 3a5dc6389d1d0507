'use strict';
// Writes LINES short lines to a stream (1 or 2), as little as fits into a pipe that nobody
// reads, and ends at once. Slow readers have it long dead when they come to its words.

const fs = require('node:fs');

const [, , stream, lines] = process.argv;
const numbers = Array.from({ length: Number(lines) }, (_, i) => `${i}\n`);
fs.writeSync(Number(stream), numbers.join(''));
process.exit(0);
