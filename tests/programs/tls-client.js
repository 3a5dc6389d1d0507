'use strict';
// Connects COUNT times to a TLS server of listen.js, one after the other, resuming the
// session of the first connection, and says what it saw: [{reused, protocol, pid, …}].

const tls = require('node:tls');

const [, , port, count, version] = process.argv;
const seen = [];
let session;

function connect() {
  let text = '';
  const socket = tls.connect({
    host: '127.0.0.1',
    port: Number(port),
    rejectUnauthorized: false,
    session,
    minVersion: version,
    maxVersion: version,
  });
  socket.on('session', (ticket) => (session ??= ticket));
  socket.on('data', (data) => (text += data));
  socket.on('close', () => {
    seen.push({ resumed: socket.isSessionReused(), ...JSON.parse(text) });
    if (seen.length < Number(count)) return connect();
    console.log(JSON.stringify(seen));
  });
}
connect();
