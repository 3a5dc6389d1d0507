'use strict';
// Listens, and ends on SIGINT in a way of its own. Asked to leave otherwise it stays.

const http = require('node:http');

process.on('SIGINT', () => process.exit(42));
http
  .createServer((request, response) => response.end('served'))
  .listen(0, '127.0.0.1', () => console.log('listens'));
setInterval(() => {}, 1000);
