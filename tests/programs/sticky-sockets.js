'use strict';
// Keeps every connection open and echoes what comes in, with its own id in front. It
// closes nothing on its own, so a disconnect takes as long as its clients do.

const net = require('node:net');

net
  .createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => socket.write(`${process.pid} ${data}`));
  })
  .listen(0, '127.0.0.1');
