'use strict';
// Writes numbered lines to stdout and stderr all the time, each in two parts, so that
// somebody who stops reading mostly does so within a line. Serves, so that it is asked to
// stop; says the last number that it wrote.

const fs = require('node:fs');

let number = 0;
const write = setInterval(() => {
  for (const [fd, name] of [[1, 'out'], [2, 'err']]) {
    fs.writeSync(fd, `${name} `);
    fs.writeSync(fd, `${number}\n`);
  }
  number += 1;
  fs.writeSync(1, 'beg');
  fs.writeSync(1, `un ${number}\n`);
}, 0);

const server = require('node:http').createServer((request, response) => response.end(String(number)));
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
process.on('disconnect', () => {
  clearInterval(write);
  fs.writeSync(1, `the last is ${number}\n`);
});
