'use strict';
// Listens; then ends for good with the first file of CRASH it can remove, so that each
// file makes one crash.

const fs = require('node:fs');
const http = require('node:http');

http
  .createServer((request, response) => {
    response.end(JSON.stringify({ pid: process.pid, id: request.url.slice(1) }));
  })
  .listen(Number(process.env.PORT ?? 0), '127.0.0.1');
setInterval(() => {
  if (!fs.existsSync(process.env.CRASH)) return;
  console.error('crashing as told');
  process.exit(1);
}, 5);
