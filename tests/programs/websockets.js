'use strict';
// A WebSocket server without libraries: each message is answered with {id, pid, version},
// ID being the message without its slash. What it gets from its primary it says on stdout.

const crypto = require('node:crypto');
const http = require('node:http');

const MAGIC = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const [TEXT, CLOSE] = [0x81, 0x88];

// One masked frame of less than 126 bytes, and what follows it.
function takeFrame(bytes) {
  if (bytes.length < 2) return;
  const length = bytes[1] & 0x7f;
  if (bytes.length < 6 + length) return;
  const mask = bytes.subarray(2, 6);
  const payload = Buffer.from(bytes.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]));
  return { type: bytes[0], payload, rest: bytes.subarray(6 + length) };
}

const frame = (type, payload) => Buffer.concat([Buffer.from([type, payload.length]), payload]);

function serve(socket) {
  let bytes = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('end', () => socket.end());
  socket.on('data', (data) => {
    bytes = Buffer.concat([bytes, data]);
    for (let found; (found = takeFrame(bytes)); bytes = found.rest) {
      if (found.type === CLOSE) return socket.end(frame(CLOSE, found.payload));
      const id = String(found.payload).replace('/', '');
      const answer = { id, pid: process.pid, version: process.env.VERSION ?? '1' };
      socket.write(frame(TEXT, Buffer.from(JSON.stringify(answer))));
    }
  });
}

const server = http.createServer((request, response) => response.end('no WebSocket'));
server.on('upgrade', (request, socket) => {
  const key = request.headers['sec-websocket-key'];
  const accept = crypto.createHash('sha1').update(key + MAGIC).digest('base64');
  const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
  socket.write(`${head.join('\r\n')}\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  serve(socket);
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
