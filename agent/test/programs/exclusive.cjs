// Listens by itself, without its primary.
'use strict';

const server = require('http').createServer((_, response) => response.end(`ok ${process.pid}`));
server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
  process.send(server.address().port);
  process.send('ready');
});
