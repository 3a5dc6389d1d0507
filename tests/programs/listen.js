'use strict';
// Listens wherever its arguments say, each `KIND JSON`: KIND is net, http, https, tls,
// http2, http2s or udp, JSON the options of listen() or bind(). Every connection,
// request or datagram is answered with {server, pid, worker}, SERVER counting the
// arguments from 0. What became of each listen is one line of JSON on stdout.

const cluster = require('node:cluster');
const fs = require('node:fs');

const say = (fields) => console.log(JSON.stringify({ worker: cluster.worker?.id, ...fields }));

const pair = () => ({
  key: fs.readFileSync(process.env.TLS_KEY),
  cert: fs.readFileSync(process.env.TLS_CERT),
});

const makers = {
  net: (answer) => require('node:net').createServer((socket) => {
    socket.on('error', () => {});
    socket.end(`${answer()}\n`);
  }),
  tls: (answer) => require('node:tls').createServer(pair(), (socket) => {
    socket.on('error', () => {});
    socket.end(`${answer({ reused: socket.isSessionReused(), protocol: socket.getProtocol() })}\n`);
  }),
  http: (answer) => require('node:http').createServer((request, response) => {
    response.end(answer({ path: request.url }));
  }),
  https: (answer) => require('node:https').createServer(pair(), (request, response) => {
    response.end(answer({ path: request.url, reused: request.socket.isSessionReused() }));
  }),
  http2: (answer) => require('node:http2').createServer((request, response) => {
    response.end(answer({ path: request.url }));
  }),
  http2s: (answer) => require('node:http2').createSecureServer(pair(), (request, response) => {
    response.end(answer({ path: request.url, reused: request.stream.session.socket.isSessionReused() }));
  }),
};

function udp(options, server, answer) {
  const socket = require('node:dgram').createSocket(options.socket ?? 'udp4');
  socket.on('message', (data, peer) => socket.send(answer({ got: String(data) }), peer.port, peer.address));
  socket.on('listening', () => say({ server, listening: socket.address() }));
  socket.on('error', (error) => say({ server, error: error.code, syscall: error.syscall }));
  socket.bind(options);
}

function listen(kind, options, server) {
  const answer = (more) => {
    return JSON.stringify({ server, pid: process.pid, worker: cluster.worker?.id, ...more });
  };
  if (kind === 'udp') return udp(options, server, answer);
  const made = makers[kind](answer);
  made.on('listening', () => say({ server, listening: made.address() }));
  made.on('error', (error) => say({ server, error: error.code, syscall: error.syscall }));
  made.listen(options);
}

const [, , ...words] = process.argv;
for (let i = 0; i < words.length; i += 2) listen(words[i], JSON.parse(words[i + 1]), i / 2);
// A worker whose listens all failed stays, so that its error can be read.
const stay = setInterval(() => {}, 60_000);
process.on('disconnect', () => clearInterval(stay));
