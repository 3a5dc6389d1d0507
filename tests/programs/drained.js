'use strict';
// Serves as release.js does and tells on stdout how it is asked to leave. With STAY it
// does not go by SIGTERM either.

process.on('message', (message) => console.log(`message ${JSON.stringify(message)}`));
process.on('disconnect', () => console.log('disconnected'));
if (process.env.STAY) {
  process.on('SIGTERM', () => console.log('SIGTERM'));
  setInterval(() => {}, 1000);
}
require('./release.js');
