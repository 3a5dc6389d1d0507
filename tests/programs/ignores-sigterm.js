'use strict';
// Serves, and ends neither on SIGTERM nor SIGINT nor when asked to disconnect.

const http = require('node:http');

process.on('SIGTERM', () => console.log('SIGTERM ignored'));
process.on('SIGINT', () => console.log('SIGINT ignored'));
process.on('disconnect', () => console.log('disconnect ignored'));
setInterval(() => {}, 1000);
http.createServer((request, response) => response.end('still here')).listen(0, '127.0.0.1');
