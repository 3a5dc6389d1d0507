// A server that runs under Deno and Node alike.

import cluster from 'node:cluster';
import http from 'node:http';
import process from 'node:process';

http
  .createServer((request, response) => {
    const runtime = globalThis.Deno ? 'deno' : 'node';
    response.end(JSON.stringify({ pid: process.pid, worker: cluster.worker?.id, runtime }));
  })
  .listen(0, '127.0.0.1');
