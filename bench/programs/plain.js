// What is reloaded: a server without one line about shutting down. It says who answers
// and what was asked for, so that a wrong answer is noticed.
const http = require('node:http');

http
  .createServer((request, response) => response.end(`${process.pid} ${request.url}\n`))
  .listen(process.env.PORT);
