'use strict';
// Listens as release.js does, and crashes as soon as that has been told.

const http = require('node:http');

http.createServer(() => {}).listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.error('listening was too much');
  setTimeout(() => process.exit(1), 10);
});
