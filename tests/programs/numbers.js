'use strict';
// Writes numbered lines all the time, and on SIGUSR1 how many there were; then no more.

const fs = require('node:fs');

let count = 0;
const writing = setInterval(() => {
  for (let i = 0; i < 20; i += 1) fs.writeSync(1, `${count++} ${'x'.repeat(80)}\n`);
}, 5);

process.on('SIGUSR1', () => {
  clearInterval(writing);
  fs.writeSync(1, `end ${count}\n`);
});
