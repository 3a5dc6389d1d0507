'use strict';
// Says that it is ready, then sends every message back to its primary. A socket that
// comes along gets a greeting.

process.on('message', (message, handle) => {
  handle?.end(`hello from ${process.pid}\n`);
  process.send(message);
});
process.send({ ready: process.pid });
