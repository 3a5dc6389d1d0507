'use strict';
// Says as whom it runs and with what, and answers with {id, pid}. The worker whose number is in HOG
// takes 300 MiB of memory once it is asked for /hog.

const cluster = require('node:cluster');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');

const kept = [];

/** Forkyard's agent watches who listens. */
function isAgentThere() {
  return Boolean(Object.getOwnPropertyDescriptor(net.Server.prototype, '_listen2').get);
}

function openFiles() {
  const line = fs.readFileSync('/proc/self/limits', 'utf8').match(/^Max open files +(\d+) +(\d+)/m);
  return [Number(line[1]), Number(line[2])];
}

const { env } = process;
const said = {
  pid: process.pid,
  slot: Number(env.FORKYARD_SLOT),
  uid: process.getuid(),
  gid: process.getgid(),
  groups: process.getgroups(),
  home: env.HOME,
  user: env.USER,
  logname: env.LOGNAME,
  nice: os.getPriority(),
  openFiles: openFiles(),
  instance: env[env.INSTANCE_NAME || 'NODE_APP_INSTANCE'],
  instances: Object.keys(env).filter((name) => /INSTANCE$/.test(name)),
  cgroups: fs.readFileSync('/proc/self/cgroup', 'utf8'),
  agent: isAgentThere(),
};
http
  .createServer((request, response) => {
    if (request.url === '/hog' && env.HOG === String(cluster.worker.id)) {
      kept.push(Buffer.alloc(300 << 20, 1));
    }
    response.end(JSON.stringify({ id: request.url.slice(1), pid: process.pid }));
  })
  .listen(Number(env.SERVE_PORT || 0), '127.0.0.1', () => {
    fs.appendFileSync('/dev/stdout', `${JSON.stringify(said)}\n`);
  });
