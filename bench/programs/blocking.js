// A server whose answers say who answers and what was asked for. Asked for `/block/100/…` it
// blocks its event loop for 100 ms, as a synchronous call does: nothing else is served, and no
// core is busy.
const http = require('node:http');

const never = new Int32Array(new SharedArrayBuffer(4));

const server = http.createServer((request, response) => {
  const [, time] = request.url.match(/^\/block\/(\d+)\//) ?? [];
  if (time) Atomics.wait(never, 0, 0, Number(time));
  const body = `${process.pid} ${request.url}\n`;
  // By itself it is left out when a proxy asks with HTTP/1.0.
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body);
});

// Idle connections are to stay open while others are opened.
server.keepAliveTimeout = 60_000;
server.listen({ port: process.env.PORT, reusePort: process.env.REUSE_PORT === 'yes' });
