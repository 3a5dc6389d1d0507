#!/usr/bin/env node
'use strict';
// Node's own cluster primary behind Forkyard's options and events, as far as they go.
// FORKYARD_BIN=tests/reference/primary.js runs the protocol tests against it, which
// shows that a fixture or a test asks nothing of Forkyard that Node does not do.

const cluster = require('node:cluster');
const path = require('node:path');
const readline = require('node:readline');

const settings = { workers: 2, args: [], execArgv: [], env: {} };
const takers = {
  '--workers': (v) => (settings.workers = v === 'max' ? require('node:os').cpus().length : +v),
  '--policy': (v) => (cluster.schedulingPolicy = v === 'shared' ? cluster.SCHED_NONE : cluster.SCHED_RR),
  '--interpreter': (v) => (process.execPath = v),
  '--node-args': (v) => settings.execArgv.push(...v.split(/\s+/)),
  '--serialization': (v) => (settings.serialization = v),
  '--cwd': (v) => (settings.cwd = v),
  '--env': (v) => (settings.env[v.slice(0, v.indexOf('='))] = v.slice(v.indexOf('=') + 1)),
};

const argv = process.argv.slice(2);
if (argv.shift() !== 'run') throw new Error('only `run` is known here');
while (argv[0]?.startsWith('-')) {
  const name = argv.shift();
  const value = argv.shift();
  takers[name]?.(value);
}
const [program, ...args] = argv;

function say(event, fields) {
  const line = { time: new Date().toISOString(), level: 'INFO', event, ...fields };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}

const where = ({ addressType, address, port }) => {
  if (addressType === -1) return `unix:${address}`;
  const host = address ?? '::';
  const end = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return String(addressType).startsWith('udp') ? `udp:${end}` : end;
};

let stopping = false;
const left = new Set();
const bound = new Set();

function listening(who, address) {
  if (!bound.has(address)) say('listener_bound', { address });
  bound.add(address);
  say('worker_listening', { ...who, address });
}

function stopped() {
  say('stopped', { code: 0 });
  process.exit(0);
}

function fork(slot) {
  const worker = cluster.fork(settings.env);
  left.add(worker);
  const who = { slot, worker: worker.id, pid: worker.process.pid };
  say('worker_started', who);
  for (const stream of ['stdout', 'stderr']) {
    readline.createInterface({ input: worker.process[stream] }).on('line', (line) => {
      const output = { time: new Date().toISOString(), level: 'INFO', event: 'output' };
      process[stream].write(`${JSON.stringify({ ...output, ...who, stream, line })}\n`);
    });
  }
  worker.on('online', () => say('worker_online', who));
  worker.on('listening', (address) => listening(who, where(address)));
  worker.on('disconnect', () => say('worker_disconnected', who));
  worker.on('error', (error) => say('channel_trouble', { ...who, message: String(error) }));
  worker.on('exit', (code, signal) => {
    const expected = stopping || worker.exitedAfterDisconnect;
    say('worker_exited', { ...who, code, signal, expected, stderr_tail: [] });
    left.delete(worker);
    if (!stopping) fork(slot);
    else if (left.size === 0) stopped();
  });
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    stopping = true;
    say('stopping', { reason: signal, workers: settings.workers });
    cluster.disconnect();
  });
}

cluster.setupPrimary({
  exec: path.resolve(program),
  args,
  execArgv: settings.execArgv,
  cwd: settings.cwd,
  serialization: settings.serialization,
  silent: true,
});
say('primary_started', { pid: process.pid, app: path.basename(program), program, workers: settings.workers });
for (let slot = 0; slot < settings.workers; slot += 1) fork(slot);
