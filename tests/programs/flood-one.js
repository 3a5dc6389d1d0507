'use strict';
// The worker in slot 0 floods a stream (1 or 2) without end; all others serve on PORT.

const fs = require('node:fs');
const http = require('node:http');

const stream = Number(process.argv[2]);

function flood() {
  const lines = `${'y'.repeat(99)}\n`.repeat(100);
  for (;;) fs.writeSync(stream, lines);
}

function serve() {
  http
    .createServer((request, response) => {
      response.end(JSON.stringify({ pid: process.pid, id: request.url.slice(1) }));
    })
    .listen(Number(process.env.PORT), '127.0.0.1');
}

if (process.env.FORKYARD_SLOT === '0') flood();
else serve();
