'use strict';
// Listens on a Unix socket; ends in the way the path of a request names.

const http = require('node:http');

const ends = {
  '/throw': () => { throw new Error('thrown as asked'); },
  '/reject': () => { Promise.reject(new Error('rejected as asked')); },
  '/exit/0': () => process.exit(0),
  '/exit/42': () => process.exit(42),
  '/abort': () => process.abort(),
  '/segv': () => process.kill(process.pid, 'SIGSEGV'),
};

http
  .createServer((request, response) => {
    const end = ends[request.url];
    if (!end) return response.end(JSON.stringify({ pid: process.pid }));
    response.end('as you wish', () => setImmediate(end));
  })
  .listen(process.env.SOCKET);
