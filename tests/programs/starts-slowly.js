'use strict';
// Listens once the file RELEASE exists, and not before: on PORT, or on a descriptor FD that
// the primary was started with.

const fs = require('node:fs');
const http = require('node:http');

const { FD, PORT } = process.env;
const where = FD ? { fd: Number(FD) } : { port: Number(PORT ?? 0), host: '127.0.0.1' };

const timer = setInterval(() => {
  if (!fs.existsSync(process.env.RELEASE)) return;
  clearInterval(timer);
  http
    .createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })))
    .listen(where);
}, 5);
