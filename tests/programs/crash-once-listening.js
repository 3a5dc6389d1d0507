'use strict';
// Listens, and crashes as soon as the file CRASH exists.

const fs = require('node:fs');
const http = require('node:http');

const crash = () => {
  if (!fs.existsSync(process.env.CRASH)) return;
  console.error('crashing as told');
  process.exit(1);
};

http
  .createServer((request, response) => {
    response.end(JSON.stringify({ pid: process.pid, id: request.url.slice(1) }));
  })
  .listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => setInterval(crash, 5));
