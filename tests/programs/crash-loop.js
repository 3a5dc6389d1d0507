'use strict';
// Serves only while the file RELEASE exists at its start; crashes at boot otherwise.

const fs = require('node:fs');
const http = require('node:http');

if (!fs.existsSync(process.env.RELEASE)) {
  console.error('not yet');
  process.exit(1);
}
http
  .createServer((request, response) => {
    response.end(JSON.stringify({ pid: process.pid, id: request.url.slice(1) }));
  })
  .listen(Number(process.env.PORT), '127.0.0.1');
