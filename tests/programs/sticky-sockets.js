'use strict';
// Keeps every connection open and echoes what comes in, with its own id in front. It
// closes nothing on its own, so a disconnect takes as long as its clients do.

const net = require('node:net');

const server = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.on('data', (data) => socket.write(`${process.pid} ${data}`));
});
if (process.env.SOCKET) server.listen(process.env.SOCKET);
else server.listen(0, process.env.HOST ?? '127.0.0.1');
