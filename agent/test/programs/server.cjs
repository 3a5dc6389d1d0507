// A server without a line of shutdown code. Its first argument says what it speaks, its second
// where it listens: a port or a path.
'use strict';

const fs = require('fs');
const [kind, where = '0'] = process.argv.slice(2);

const kinds = {
  http: () => require('http').createServer(handle),
  https: () => require('https').createServer(keys(), handle),
  http2: () => require('http2').createSecureServer({ ...keys(), allowHTTP1: true }, handle),
  h2c: () => require('http2').createServer(handle),
  express: () => require('http').createServer(require('express')().use(handle)),
  websocket: () => withWebSocket(require('http').createServer(handle)),
  socketio: () => withSocketIo(require('http').createServer(handle)),
  tcp: () => require('net').createServer((socket) => socket.on('error', () => {}).pipe(socket)),
};

if (kind === 'fastify') {
  const app = require('fastify')();
  app.all('/*', async () => `ok ${process.pid}`);
  app.listen({ port: 0, host: '127.0.0.1' });
} else {
  const address = /^\d+$/.test(where) ? { port: Number(where), host: '127.0.0.1' } : { path: where };
  const server = kinds[kind]();
  // Node's five seconds are a race of their own where clients have to wait for a processor.
  server.keepAliveTimeout = 60_000;
  server.listen(address);
}

function keys() {
  return { key: fs.readFileSync(process.env.KEY), cert: fs.readFileSync(process.env.CERT) };
}

const routes = {
  '/slow': (_, response) => setTimeout(() => response.end('slow'), 300),
  '/upload': (request, response) => {
    let bytes = 0;
    request.on('data', (chunk) => (bytes += chunk.length));
    request.on('end', () => response.end(`got ${bytes}`));
  },
  // Answers before it has read what it is sent.
  '/early': (_, response) => response.end('early'),
  // As proxies do, who hand on what they got.
  '/kept': (_, response) => response.setHeader('Connection', 'keep-alive').end('kept'),
  '/bare': (_, response) => {
    response.removeHeader('Connection');
    response.end('bare');
  },
  // Says when it has been begun, and goes on when its client says so on another request.
  '/held': (_, response) => {
    held.push(response);
    process.send('held');
  },
  '/open': (_, response) => {
    response.write('open');
    held.push(response);
    process.send('held');
  },
  '/release': (_, response) => {
    held.splice(0).forEach((other) => other.end('done'));
    response.end('ok');
  },
  '/events': (_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    let count = 0;
    const timer = setInterval(() => {
      response.write(`data: ${++count}\n\n`);
      if (count === 10) {
        clearInterval(timer);
        response.end();
      }
    }, 60);
  },
};
const held = [];

function handle(request, response) {
  const route = routes[request.url];
  if (route) {
    route(request, response);
  } else {
    response.end(`ok ${process.pid}`);
  }
}

function withWebSocket(server) {
  const { WebSocketServer } = require('ws');
  new WebSocketServer({ server }).on('connection', (socket) => {
    socket.on('message', (data) => socket.send(`echo ${data}`));
  });
  return server;
}

function withSocketIo(server) {
  const { Server } = require('socket.io');
  new Server(server).on('connection', (socket) => {
    socket.on('ask', (text, answer) => answer(`echo ${text}`));
  });
  return server;
}
process.on('message', (text) => {
  if (text === 'release') {
    held.splice(0).forEach((response) => response.end('done'));
  }
});
