'use strict';
// A CommonJS module by its name.

const cluster = require('node:cluster');
const http = require('node:http');

http
  .createServer((request, response) => {
    response.end(JSON.stringify({ pid: process.pid, worker: cluster.worker.id, from: __filename }));
  })
  .listen(0, '127.0.0.1');
