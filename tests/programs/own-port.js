'use strict';
// Binds the port it is told as PORT, all by itself, and says so. At an address where nobody else
// listens.

const http = require('node:http');

const port = Number(process.env.PORT);
http
  .createServer((request, response) => response.end(String(process.pid)))
  .listen({ port, host: '127.77.0.1', exclusive: true }, () => {
    console.log(JSON.stringify({ port, slot: Number(process.env.FORKYARD_SLOT), pid: process.pid }));
    process.send('ready');
  });
