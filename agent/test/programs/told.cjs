// Does something when it is told that it drains; its argument says what.
'use strict';

const http = require('http');

const server = http.createServer((_, response) => response.end(`ok ${process.pid}`));
const ways = {
  // What programs that know PM2 do.
  close: () => server.close((error) => process.send(`closed ${error ? error.code : 'well'}`)),
  throw: () => {
    throw new Error('thrown when told');
  },
  repeat: (text) => process.send(`told ${text}`),
};

// What a program may do to itself, before and after: nothing of it concerns the drain.
process.removeAllListeners('message');
process.on('message', (text) => ways[process.argv[2]]?.(text));
if (process.argv[2] === 'sealed') {
  // The agent cannot do its work here.
  const value = server.closeIdleConnections;
  Object.defineProperty(server, 'closeIdleConnections', { value, configurable: false });
}
server.listen(0, '127.0.0.1');
