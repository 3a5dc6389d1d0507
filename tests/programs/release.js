'use strict';
// A server with not one line about how it ends. Its answers carry {id, pid, version,
// slot}. SERVE says what it speaks: http (default), https, http2 or http2s.
//   /ID            answers
//   /slow/MS/ID    says so on stdout, and answers after so many milliseconds
//   /healthz       is well, unless HEALTH says that it `fails` or `hangs`
// It listens on SOCKET or PORT, BOOT_MS after its start.

const fs = require('node:fs');

const { VERSION: version = '1', FORKYARD_SLOT: slot, SERVE = 'http', HEALTH } = process.env;

function handle(request, response) {
  if (request.url === '/healthz') return health(response);
  const words = request.url.split('/');
  const id = words.at(-1);
  const answer = () => response.end(JSON.stringify({ id, pid: process.pid, version, slot }));
  if (words[1] !== 'slow') return answer();
  console.log(`begun ${id}`);
  setTimeout(answer, Number(words[2]));
}

function health(response) {
  if (HEALTH === 'hangs') return;
  response.statusCode = HEALTH === 'fails' ? 500 : 200;
  response.end('as asked');
}

const pair = () => ({
  key: fs.readFileSync(process.env.TLS_KEY),
  cert: fs.readFileSync(process.env.TLS_CERT),
});

const makers = {
  http: () => require('node:http').createServer(handle),
  https: () => require('node:https').createServer(pair(), handle),
  http2: () => require('node:http2').createServer(handle),
  http2s: () => require('node:http2').createSecureServer(pair(), handle),
};

function listen() {
  const server = makers[SERVE]();
  if (process.env.SOCKET) server.listen(process.env.SOCKET);
  else server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
}

setTimeout(listen, Number(process.env.BOOT_MS ?? 0));
