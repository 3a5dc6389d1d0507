// An ordinary Node.js cluster program: `node examples/hello.js` runs it, and so does
// `forkyard run examples/hello.js`, where Forkyard takes the place of the first branch.
const cluster = require('node:cluster');
const http = require('node:http');
const os = require('node:os');

if (cluster.isPrimary) {
  for (let i = 0; i < os.availableParallelism(); i++) cluster.fork();
  cluster.on('exit', (worker) => {
    console.log(`worker ${worker.id} is gone, forking another`);
    cluster.fork();
  });
} else {
  const port = process.env.PORT || 8000;
  http
    .createServer((request, response) => {
      response.end(`Hello from worker ${cluster.worker.id} (pid ${process.pid})\n`);
    })
    .listen(port, () => console.log(`serving http://localhost:${port}`));
}
