// Requests that cost time but no CPU: the event loop is blocked in a wait for as long as the
// path says, in milliseconds. So a machine with few cores can have many busy workers.
const http = require('http');

const never = new Int32Array(new SharedArrayBuffer(4));

http
  .createServer((request, response) => {
    Atomics.wait(never, 0, 0, Number(request.url.slice(1)));
    response.end(String(process.pid));
  })
  .listen({ port: Number(process.env.PORT), reusePort: process.env.REUSE_PORT === '1' });
