'use strict';
// Sends handles of each kind to its primary, which does not have to want them, then a
// plain message behind them, and serves: an unanswered handle would hold up both.

const dgram = require('node:dgram');
const http = require('node:http');
const net = require('node:net');

const sent = [];
const note = (what) => (error) => {
  sent.push(error ? `${what}: ${error}` : what);
};

function sendAll(socket, server, udp) {
  process.send({ carries: 'socket' }, socket, note('socket'));
  process.send({ carries: 'server' }, server, note('server'));
  process.send({ carries: 'udp' }, udp, note('udp'));
  process.send('behind the handles', (error) => {
    note('message')(error);
    console.log(JSON.stringify({ sent }));
    [socket, ...peers].forEach((end) => end.destroy());
    server.close();
    udp.close();
    serve();
  });
}

function serve() {
  http
    .createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })))
    .listen(0, '127.0.0.1');
}

// `exclusive`, so that none of these asks the primary for anything.
const peers = [];
const server = net.createServer((peer) => peers.push(peer));
server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
  const udp = dgram.createSocket('udp4');
  udp.bind({ port: 0, address: '127.0.0.1', exclusive: true }, () => {
    const socket = net.connect(server.address().port, '127.0.0.1', () => sendAll(socket, server, udp));
    socket.on('error', () => {});
  });
});
