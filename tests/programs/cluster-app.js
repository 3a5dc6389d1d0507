'use strict';
// An ordinary cluster program: one file, a primary branch that forks, a worker branch
// that serves.

const cluster = require('node:cluster');
const http = require('node:http');

if (cluster.isPrimary) {
  console.log('the primary branch ran');
  cluster.fork();
  cluster.fork();
} else {
  http
    .createServer((request, response) => {
      response.end(
        JSON.stringify({ pid: process.pid, worker: cluster.worker.id, path: request.url }),
      );
    })
    .listen(Number(process.env.PORT ?? 0), '127.0.0.1');
}
