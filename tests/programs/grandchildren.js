'use strict';
// Forks children of its own: one that would end when asked, and one that ignores
// SIGTERM, SIGINT and SIGHUP. Says their ids, then serves.

const { spawn } = require('node:child_process');
const http = require('node:http');

const stdio = 'ignore';
const meek = spawn('sleep', ['1000'], { stdio });
const stubborn = spawn('sh', ['-c', 'trap "" TERM INT HUP; sleep 1000 & wait; sleep 1000'], { stdio });
console.log(JSON.stringify({ meek: meek.pid, stubborn: stubborn.pid }));
http
  .createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })))
  .listen(0, '127.0.0.1');
