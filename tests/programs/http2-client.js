'use strict';
// Asks an HTTP/2 server COUNT times, each on a connection of its own, resuming the TLS
// session of the first, and prints the answers.

const http2 = require('node:http2');

const [, , origin, count] = process.argv;
const seen = [];
let session;

function ask() {
  const client = http2.connect(origin, { rejectUnauthorized: false, session });
  client.socket.on('session', (ticket) => (session ??= ticket));
  const request = client.request({ ':path': `/${seen.length}` });
  let text = '';
  request.on('data', (data) => (text += data));
  request.on('end', () => client.close());
  client.on('close', () => {
    seen.push(JSON.parse(text));
    if (seen.length < Number(count)) return ask();
    console.log(JSON.stringify(seen));
  });
}
ask();
