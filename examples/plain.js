// A plain server without any clustering in it. `forkyard run examples/plain.js` runs it on
// all cores behind one port as it is.
const http = require('node:http');

http
  .createServer((request, response) => response.end(`Hello from pid ${process.pid}\n`))
  .listen(process.env.PORT || 8000);
