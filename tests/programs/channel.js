'use strict';
// The first worker that can create the file ONCE writes what its argument names onto its
// channel, beneath Node; all others serve and behave. Says when it has written.

const cluster = require('node:cluster');
const fs = require('node:fs');
const http = require('node:http');

const line = (message) => `${JSON.stringify(message)}\n`;
const act = (fields) => line({ cmd: 'NODE_CLUSTER', seq: 1000, ...fields });
const query = (fields) => act({ act: 'queryServer', index: 0, data: null, addressType: 4, ...fields });

// Written again and again without end.
const floods = {
  'unknown-commands': line({ cmd: 'NODE_X' }),
  queries: query({ address: '127.0.0.1', port: -5 }),
};

const MEGABYTE = Buffer.alloc(1 << 20, 'x');

const misdeeds = {
  garbage: () => [Buffer.from([0, 255, 10, 128, 10]), 'not json at all\n', '\n', '{"a":\n', 'null\n', '}{\n'],
  binary: () => [Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256))],
  'half-line': () => ['{"cmd":"NODE_CLUSTER","act":"quer'],
  'half-line-and-exit': () => ['{"cmd":"NODE_CLUSTER","act":"quer'],
  endless: () => Array.from({ length: 100 }, () => MEGABYTE),
  nested: () => [`${'['.repeat(500_000)}\n`, `${'{"a":'.repeat(200_000)}\n`],
  'bun-dialect': () => [Buffer.from([2]), line({ act: 'queryServer' })],
  'forged-queries': () => [
    query({ address: '127.0.0.1', port: 99999 }),
    query({ address: '127.0.0.1', port: -5 }),
    query({ address: '127.0.0.1', port: 'eighty' }),
    query({ address: '127.0.0.1', port: 1.5 }),
    query({ address: 'no.such.host.invalid', port: 1 }),
    query({ address: { toString: 1 }, port: 1 }),
    query({ address: '127.0.0.1', port: 0, addressType: 77 }),
    query({ address: '127.0.0.1', port: 0, addressType: 'udp9' }),
    query({ address: '127.0.0.1', port: 0, index: -1 }),
    query({ address: '127.0.0.1', port: 0, index: 1e300 }),
    query({ address: '127.0.0.1', port: 0, flags: -1, backlog: -1 }),
    query({ address: '127.0.0.1', port: 0, backlog: 1e300, flags: 'x' }),
    query({ address: '', port: -1, addressType: -1 }),
    query({ address: `/${'p'.repeat(10_000)}`, port: -1, addressType: -1 }),
    query({ address: '/tmp/with\0nul', port: -1, addressType: -1 }),
    query({ address: '/no/such/directory/x.sock', port: -1, addressType: -1 }),
    query({ address: '/etc/hostname', port: -1, addressType: -1 }),
    query({ address: null, port: null, addressType: null, fd: -1 }),
    query({ address: null, port: null, addressType: null, fd: 1e9 }),
    query({ address: null, port: null, addressType: null, fd: 'three' }),
    query({ address: null, port: null, addressType: 'udp4', fd: 0 }),
    act({ act: 'queryServer' }),
    line({ cmd: 'NODE_CLUSTER', act: 'queryServer', seq: 'x', index: 0, address: null, port: 0, addressType: 4 }),
    line({ cmd: 'NODE_CLUSTER', act: 'queryServer', index: 0, address: null, port: 0, addressType: 4 }),
  ],
  'forged-answers': () => [
    act({ ack: 424242, accepted: true }),
    act({ ack: 0, accepted: true }),
    act({ ack: -1, accepted: false }),
    act({ ack: 1e300, accepted: 'yes' }),
    act({ ack: 'one' }),
    line({ cmd: 'NODE_HANDLE_ACK' }),
    line({ cmd: 'NODE_HANDLE_NACK' }),
    line({ cmd: 'NODE_HANDLE', type: 'net.Native', msg: { cmd: 'NODE_CLUSTER', act: 'newconn', seq: 1 } }),
    line({ cmd: 'NODE_HANDLE', type: 'no.such', msg: 1 }),
    line({ cmd: 'NODE_HANDLE' }),
  ],
  'forged-acts': () => [
    act({ act: 'online' }),
    act({ act: 'no such act' }),
    act({ act: 5 }),
    act({ act: 'listening', address: '10.9.8.7', port: 1, addressType: 4 }),
    act({ act: 'listening' }),
    act({ act: 'close', key: 'no such key' }),
    act({ act: 'close' }),
    act({ act: 'newconn', key: 'mine' }),
    act({ act: 'disconnect' }),
    line({ cmd: 'NODE_CLUSTER' }),
    line({ cmd: 'NODE_' }),
    line({ cmd: 'NODE_SOCKET_NOTIFY_CLOSE', key: 'k' }),
    line({ cmd: 'NODE_SOCKET_GET_COUNT', key: 'k' }),
    line({ cmd: 'NODE_DEBUG_ENABLED' }),
    '{"cmd":"NODE_CLUSTER","act":"online","act":"close","seq":1e400}\n',
  ],
  // Lengths of the `advanced` framing that lie.
  'advanced-lengths': () => [Buffer.from([0xff, 0xff, 0xff, 0xff]), 'short'],
  'advanced-zero': () => [Buffer.from([0, 0, 0, 0, 0, 0, 0, 0])],
  'advanced-garbage': () => [Buffer.from([0, 0, 0, 6, 0xff, 0x0f, 0x6f, 0x22, 0xff, 0xff])],
};

function writeAll(data) {
  const bytes = Buffer.from(data);
  const nap = new Int32Array(new SharedArrayBuffer(4));
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(process.channel.fd, bytes, at);
    } catch (error) {
      if (error.code === 'EPIPE' || error.code === 'ECONNRESET') return false;
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(nap, 0, 0, 1);
    }
  }
  return true;
}

function misbehaves() {
  try {
    fs.closeSync(fs.openSync(process.env.ONCE, 'wx'));
    return true;
  } catch {
    return false;
  }
}

function serve(listening) {
  http
    .createServer((request, response) => {
      response.end(JSON.stringify({ pid: process.pid, id: request.url.slice(1) }));
    })
    .listen(0, '127.0.0.1', listening);
}

const what = process.argv[2];
const when = process.argv[3];

function misbehave() {
  if (floods[what]) {
    console.log(JSON.stringify({ wrote: what, pid: process.pid, worker: cluster.worker.id }));
    const many = floods[what].repeat(4000);
    for (;;) writeAll(many);
  }
  const all = misdeeds[what]().every(writeAll);
  console.log(JSON.stringify({ wrote: what, all, pid: process.pid, worker: cluster.worker.id }));
  if (what.endsWith('-and-exit')) process.exit(9);
  setInterval(() => {}, 1000);
}

if (!misbehaves()) serve();
else if (when === 'serving') serve(misbehave);
else misbehave();
