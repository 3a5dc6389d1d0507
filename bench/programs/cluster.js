// What is measured: an ordinary Node.js cluster program. It knows nothing of the
// benchmark but its port and how many workers to fork.
const cluster = require('node:cluster');
const http = require('node:http');

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WORKERS); i++) cluster.fork();
} else {
  http
    .createServer((request, response) => response.end('Hello from a worker\n'))
    .listen(process.env.PORT);
}
