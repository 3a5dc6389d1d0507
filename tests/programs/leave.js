'use strict';
// Leaves the cluster in the way the path of a request names.

const cluster = require('node:cluster');
const http = require('node:http');

const ways = {
  '/disconnect': () => cluster.worker.disconnect(),
  '/kill': () => cluster.worker.kill(),
  '/channel': () => process.disconnect(),
};

cluster.worker.on('disconnect', () => console.log('disconnected'));
process.on('exit', (code) => console.log(`exit ${code} ${cluster.worker.exitedAfterDisconnect}`));
http
  .createServer((request, response) => {
    response.setHeader('connection', 'close');
    response.end(JSON.stringify({ pid: process.pid, worker: cluster.worker.id }));
    if (ways[request.url]) response.on('finish', () => setImmediate(ways[request.url]));
  })
  .listen(0, '127.0.0.1');
