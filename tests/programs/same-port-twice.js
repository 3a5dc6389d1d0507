'use strict';
// Two servers of one worker want the same port: the second one gets an `error` event
// it can handle, and the first one goes on.

const net = require('node:net');

const first = net.createServer((socket) => socket.end('first\n'));
first.listen({ port: 0, host: '127.0.0.1' }, () => {
  const second = net.createServer((socket) => socket.end('second\n'));
  second.on('error', (error) => console.log(JSON.stringify({ second: error.code })));
  second.on('listening', () => console.log(JSON.stringify({ second: 'listening' })));
  second.listen({ port: first.address().port, host: '127.0.0.1' });
});
