// An ES module in TypeScript.

import cluster from 'node:cluster';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';

type Answer = { pid: number; worker: number };

const answer: Answer = { pid: process.pid, worker: cluster.worker!.id };

http
  .createServer((_request: IncomingMessage, response: ServerResponse) => {
    response.end(JSON.stringify(answer));
  })
  .listen(0, '127.0.0.1');
