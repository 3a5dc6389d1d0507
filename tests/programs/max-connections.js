'use strict';
// A server that takes one connection at a time, says who it is on it and keeps it open
// until the client closes.

const cluster = require('node:cluster');
const net = require('node:net');

const server = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.on('end', () => socket.end());
  socket.write(`${JSON.stringify({ pid: process.pid, worker: cluster.worker.id })}\n`);
});
server.maxConnections = 1;
server.listen({ port: 0, host: '127.0.0.1' });
