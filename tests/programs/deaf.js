'use strict';
// Listens, then blocks its event loop for good. Nothing but SIGKILL ends it once it
// has a handler for SIGTERM that never gets to run.

const http = require('node:http');

process.on('SIGTERM', () => {});
http
  .createServer((request, response) => response.end('never seen'))
  .listen(0, '127.0.0.1', () => {
    console.log('deaf from here on');
    setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0), 1);
  });
