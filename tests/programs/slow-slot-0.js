'use strict';
// Says which process it is and closes. The worker in slot 0 blocks its event loop for a while
// on every connection.

const BLOCKED_MS = process.env.FORKYARD_SLOT === '0' ? 20 : 0;
const never = new Int32Array(new SharedArrayBuffer(4));

require('node:net')
  .createServer((socket) => {
    if (BLOCKED_MS) Atomics.wait(never, 0, 0, BLOCKED_MS);
    socket.on('error', () => {});
    socket.end(`${process.pid}\n`);
  })
  .listen(0, '127.0.0.1');
