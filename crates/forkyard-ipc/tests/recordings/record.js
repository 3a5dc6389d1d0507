// Records what a real Node primary and a real Node worker say to each other.
//
//     node record.js json|advanced FOLDER
//
// writes FOLDER/node<major>.<dialect>.worker, the bytes the primary read, and
// FOLDER/node<major>.<dialect>.primary, the bytes the worker read. Both are whole
// channels, from the first byte to the last. `record.sh` does it for several
// binaries. The tests in ../messages/recorded.rs know what is said here: change both.
'use strict';

const cluster = require('cluster');
const dgram = require('dgram');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const tls = require('tls');
const { once } = require('events');

const major = Number(process.versions.node.split('.')[0]);

const TEXTS = ['ascii', 'latin: \u00e9', 'wide: \u20ac', 'pair: \u{1f600}', 'half: \ud800'];

/** What either dialect can carry. */
function plainMessages() {
  return [
    ...TEXTS,
    42, -7, 2 ** 31, 2 ** 53, 0.5, true, false, null,
    { nested: { list: [1, [2, [3]]], empty: {} }, cmd: 'NODE_', 7: 'seven' },
    { cmd: 'not internal' },
    [],
  ];
}

/** What only the advanced dialect can. */
function advancedMessages() {
  const cycle = { name: 'cycle' };
  cycle.me = cycle;
  const shared = { shared: true };
  const holes = ['first', , 'third'];
  const sparse = [];
  sparse[5000] = 'far';
  const named = ['element'];
  named.name = 'property';
  const error = new TypeError('broken', { cause: 'the cause' });
  error.stack = 'TypeError: broken\n    at a recording';
  return [
    { value: undefined },
    { value: -0 }, { value: NaN }, { value: Infinity },
    { value: 123n }, { value: -(2n ** 70n) }, { value: 0n },
    { value: new Date(1700000000123) },
    { value: /a+\/b/giu },
    { value: new Map([['key', 1], [{ object: true }, 'value']]) },
    { value: new Set([1, 'two']) },
    { value: Buffer.from('bytes') },
    { value: new Uint8Array([1, 2, 255]) },
    { value: new Int16Array([-1, 2]) },
    { value: new Float64Array([0.5]) },
    { value: new BigInt64Array([-5n]) },
    { value: new DataView(new ArrayBuffer(3)) },
    { value: new ArrayBuffer(4) },
    { value: error },
    { value: [Object(1), Object('s'), Object(true), Object(9n)] },
    { value: holes }, { value: sparse }, { value: named },
    { value: [shared, shared] },
    { value: cycle },
  ];
}

/** Appends to `file` every byte that comes in on the channel of `owner`. */
function tap(owner, file) {
  const symbol = Object.getOwnPropertySymbols(owner)
    .find((candidate) => candidate.description === 'kChannelHandle');
  const channel = owner[symbol];
  const original = channel.onread;
  channel.onread = function(arrayBuffer) {
    if (arrayBuffer) fs.appendFileSync(file, Buffer.from(arrayBuffer));
    return original.apply(this, arguments);
  };
}

async function primary(dialect, folder) {
  const base = path.join(folder, `node${major}.${dialect}`);
  for (const side of ['worker', 'primary']) fs.rmSync(`${base}.${side}`, { force: true });
  cluster.setupPrimary({ serialization: dialect, args: [dialect, folder], cwd: scratch() });

  const worker = cluster.fork({ RECORD_TO: `${base}.primary` });
  tap(worker.process, `${base}.worker`);
  cluster.on('message', (from, message, handle) => serve(from, message, handle));
  await once(worker, 'exit');

  const second = cluster.fork({ RECORD_TO: `${base}.primary`, RECORD_IDLE: '1' });
  tap(second.process, `${base}.worker`);
  await once(second, 'message');
  second.disconnect();
  await once(second, 'exit');
}

/** Does what the worker asks for. */
function serve(worker, message, handle) {
  if (handle && handle.close) handle.close();
  if (handle && handle.destroy) handle.destroy();
  if (!message || !message.please) return;
  if (message.please === 'connect') net.connect(message.port, '127.0.0.1').on('close', () => {}).resume();
  if (message.please === 'messages') {
    const all = message.dialect === 'json' ? plainMessages() : [...plainMessages(), ...advancedMessages()];
    for (const each of all) worker.send(each);
    worker.send('that was all');
  }
  if (message.please === 'handles') sendHandles(worker);
}

function sendHandles(worker) {
  const server = net.createServer((socket) => {
    worker.send({ here: 'a connection' }, socket);
    server.close();
  });
  server.listen(0, '127.0.0.1', () => {
    // Node 18 takes a server that a worker receives for one to ask the primary
    // for, without an address, and the primary dies of the question.
    if (major > 18) worker.send({ here: 'a server' }, server);
    net.connect(server.address().port, '127.0.0.1').resume().on('error', () => {});
  });
}

function scratch() {
  const folder = path.join(os.tmpdir(), 'forkyard-recording');
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder);
  return folder;
}

async function worker(dialect) {
  tap(process, process.env.RECORD_TO);
  if (process.env.RECORD_IDLE) {
    process.send('idle');
    return;
  }
  for (const message of plainMessages()) process.send(message);
  if (dialect === 'advanced') for (const message of advancedMessages()) process.send(message);
  await ask('messages', (message) => message === 'that was all');

  // Not every program says everything, or with the type it should have.
  const server = await listen(net.createServer(), 0, '127.0.0.1', () => {});
  const accepted = once(server, 'connection');
  process.send({ please: 'connect', port: server.address().port });
  const [socket] = await accepted;

  const others = [
    await listen(net.createServer(), { port: 0, backlog: '9' }),
    await listen(net.createServer(), { host: '::1', port: 0, ipv6Only: true, backlog: 17 }),
    await listen(net.createServer(), { path: 'recording.sock', readableAll: 1 }),
    await listen(net.createServer(), { fd: 9999 }),
    await listen(tls.createServer(), { host: '127.0.0.1', port: 0 }),
  ];
  const udp = dgram.createSocket('udp4');
  udp.bind({ address: '127.0.0.1' });
  await once(udp, 'listening');

  await sendWithHandle({ there: 'a connection' }, socket);
  // What the primary listens on for this worker is not this worker's to give away.
  const own = await listen(net.createServer(), { host: '127.0.0.1', port: 0, exclusive: true });
  await sendWithHandle({ there: 'a server' }, own);
  await sendWithHandle({ there: 'a raw server' }, own._handle);
  await sendWithHandle({ there: 'a udp socket' }, udp);
  own.close();
  await ask('handles', (message, handle) => message.here === 'a connection' && (handle.destroy(), true));

  for (const each of others) if (each.listening) each.close();
  cluster.worker.disconnect();
}

async function listen(server, ...how) {
  server.listen(...how);
  await Promise.race([once(server, 'listening'), once(server, 'error')]).catch(() => {});
  return server;
}

function sendWithHandle(message, handle) {
  return new Promise((resolve) => process.send(message, handle, resolve));
}

/** Asks the primary for something and waits for the message that ends it. */
function ask(what, isLast) {
  return new Promise((resolve) => {
    const listener = (message, handle) => {
      if (handle && handle.close) handle.close();
      if (!message || !isLast(message, handle)) return;
      process.off('message', listener);
      resolve();
    };
    process.on('message', listener);
    process.send({ please: what, dialect: process.argv[2] });
  });
}

const [dialect, folder] = process.argv.slice(2);
if (cluster.isPrimary) primary(dialect, path.resolve(folder));
else worker(dialect);
