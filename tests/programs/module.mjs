// An ES module with a top-level await.

import cluster from 'node:cluster';
import http from 'node:http';

await Promise.resolve();
http
  .createServer((request, response) => {
    response.end(JSON.stringify({ pid: process.pid, worker: cluster.worker.id, from: import.meta.url }));
  })
  .listen(0, '127.0.0.1');
