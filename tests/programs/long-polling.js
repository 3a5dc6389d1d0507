'use strict';
// Long polling with sessions that live in one worker's memory, as Socket.IO has it without
// WebSockets: each request comes on a connection of its own.
//   GET  /?sid=ID   the next message of that session, or a new session if there is no sid
//   POST /?sid=ID   echoes its body to the session's next poll
// An unknown sid is an error, 400, after which a client of Socket.IO begins anew.

const crypto = require('node:crypto');
const http = require('node:http');

const sessions = new Map();

function open(response) {
  const sid = crypto.randomUUID();
  sessions.set(sid, { messages: [], poll: undefined });
  response.end(JSON.stringify({ sid, pid: process.pid, slot: process.env.FORKYARD_SLOT }));
}

function deliver(session) {
  if (!session.poll || session.messages.length === 0) return;
  session.poll.end(session.messages.shift());
  session.poll = undefined;
}

function post(request, response, session) {
  request.setEncoding('utf8');
  request.on('data', (text) => session.messages.push(text));
  request.on('end', () => {
    response.end('ok');
    deliver(session);
  });
}

http
  .createServer((request, response) => {
    response.setHeader('connection', 'close');
    const sid = new URL(request.url, 'http://x').searchParams.get('sid');
    if (!sid) return open(response);
    const session = sessions.get(sid);
    if (!session) return response.writeHead(400).end('unknown sid');
    if (request.method === 'POST') return post(request, response, session);
    session.poll = response;
    deliver(session);
  })
  .listen(Number(process.env.PORT ?? 0), '127.0.0.1');
