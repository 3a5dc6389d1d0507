'use strict';
// A server that writes to the file RECORD what reaches it, before anybody could learn
// of it otherwise, so that a test can tell what a killed worker had begun:
//   received PID PORT     a connection of the client's PORT came over the channel,
//                         and the primary has not been told yet that it is accepted
//   connection PID PORT   the program has the connection
//   request PID PORT ID   the program has the request
// Paths: /ID answers; /hold/ID answers once the file RELEASE exists; /block/ID blocks
// the event loop for good after writing the record, /spin/ID by doing sums until RELEASE
// exists, /busy/MS/ID so for some milliseconds; /exit/CODE ends the process.

const cluster = require('node:cluster');
const fs = require('node:fs');
const http = require('node:http');

const file = process.env.RECORD ? fs.openSync(process.env.RECORD, 'a') : undefined;
const record = (...words) => file && fs.writeSync(file, `${words.join(' ')}\n`);

process.prependListener('internalMessage', (message, handle) => {
  if (message.act !== 'newconn' || !handle?.getpeername) return;
  const peer = {};
  handle.getpeername(peer);
  record('received', process.pid, peer.port ?? 0);
});

function hold(answer) {
  const timer = setInterval(() => {
    if (!fs.existsSync(process.env.RELEASE)) return;
    clearInterval(timer);
    answer();
  }, 5);
}

const server = http.createServer((request, response) => {
  const [, first, second, third] = request.url.split('/');
  const id = third ?? second ?? first;
  record('request', process.pid, request.socket.remotePort ?? 0, id);
  const answer = () => {
    response.end(JSON.stringify({ pid: process.pid, worker: cluster.worker?.id, id }));
  };
  if (second === undefined) return answer();
  if (first === 'hold') return hold(answer);
  if (first === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  if (first === 'spin') while (!fs.existsSync(process.env.RELEASE));
  if (first === 'busy') for (const end = Date.now() + Number(second); Date.now() < end; );
  if (first === 'exit') process.exit(Number(second));
  answer();
});
server.on('connection', (socket) => record('connection', process.pid, socket.remotePort ?? 0));
server.keepAliveTimeout = 60_000;
if (process.env.SOCKET) server.listen(process.env.SOCKET);
else server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
