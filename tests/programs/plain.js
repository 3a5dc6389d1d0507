'use strict';
// A plain HTTP server: nothing in it knows that there is such a thing as a cluster.

const http = require('node:http');

const port = Number(process.env.PORT ?? 0);
http
  .createServer((request, response) => {
    response.end(JSON.stringify({ pid: process.pid, path: request.url }));
  })
  .listen(port, '127.0.0.1');
