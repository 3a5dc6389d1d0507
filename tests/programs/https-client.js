'use strict';
// Asks an HTTPS server COUNT times, each on a connection of its own, resuming the
// session of the first, and prints the answers.

const https = require('node:https');

const [, , port, count] = process.argv;
const seen = [];
let session;

function ask() {
  const options = { host: '127.0.0.1', port, path: `/${seen.length}`, agent: false, session };
  const request = https.get({ ...options, rejectUnauthorized: false }, (response) => {
    let text = '';
    response.on('data', (data) => (text += data));
    response.on('end', () => {
      seen.push(JSON.parse(text));
      if (seen.length < Number(count)) return ask();
      console.log(JSON.stringify(seen));
    });
  });
  request.on('socket', (socket) => socket.on('session', (ticket) => (session ??= ticket)));
}
ask();
