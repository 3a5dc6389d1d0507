'use strict';
// Listens once the file RELEASE exists, and not before.

const fs = require('node:fs');
const http = require('node:http');

const timer = setInterval(() => {
  if (!fs.existsSync(process.env.RELEASE)) return;
  clearInterval(timer);
  http
    .createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })))
    .listen(Number(process.env.PORT ?? 0), '127.0.0.1');
}, 5);
