// TypeScript that a Node with type stripping runs as it is.

const cluster = require('node:cluster');
const http = require('node:http');

interface Answer {
  pid: number;
  worker: number;
}

const answer = (): Answer => ({ pid: process.pid, worker: cluster.worker.id as number });

http
  .createServer((_request: unknown, response: { end(body: string): void }): void => {
    response.end(JSON.stringify(answer()));
  })
  .listen(0, '127.0.0.1');
