'use strict';
// Opens and closes the same server again and again; the primary has to give up a port
// that nobody uses any more and bind it anew. Says the port of each round.

const net = require('node:net');

const ROUNDS = 5;

function round(n, port) {
  const server = net.createServer((socket) => socket.end('open\n'));
  server.listen({ port, host: '127.0.0.1' }, () => {
    const bound = server.address().port;
    console.log(JSON.stringify({ round: n, port: bound }));
    if (n + 1 < ROUNDS) server.close(() => round(n + 1, bound));
  });
  server.on('error', (error) => console.log(JSON.stringify({ round: n, error: error.code })));
}
round(0, 0);
