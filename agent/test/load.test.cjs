// Workers are replaced one after the other while clients count what goes wrong. The programs
// have no shutdown code, and what goes wrong is nothing.
'use strict';

const assert = require('assert');
const path = require('path');
const { describe, it } = require('node:test');
const { certificate, scratch, withCluster } = require('./cluster.cjs');
const clients = require('./clients.cjs');

const REPLACEMENTS = 3;
const CLIENTS = 3;
// No client here is idle, so it is never waited for; but a machine that is busy with other
// things may keep one from its turn for seconds.
const GRACE_MS = 20_000;

const tcp = ({ port }) => ({ host: '127.0.0.1', port });
const tls = (address) => ({ ...tcp(address), tls: true });
const secure = ({ port }) => `https://127.0.0.1:${port}`;
const clear = ({ port }) => `http://127.0.0.1:${port}`;
const unix = (name) => path.join(scratch(), name);

const cases = {
  'HTTP, kept alive': ['http', (at) => clients.getting(tcp(at))],
  'HTTP, a connection a request': ['http', (at) => clients.getting(tcp(at), { keepAlive: false })],
  'HTTP, kept alive, shared listener': ['http', (at) => clients.getting(tcp(at)), 'none'],
  'HTTP, a connection a request, shared listener':
    ['http', (at) => clients.getting(tcp(at), { keepAlive: false }), 'none'],
  'HTTP over a Unix socket': ['http', (at) => clients.getting({ socketPath: at.address })],
  'HTTP, pipelined': ['http', (at) => clients.pipelining(tcp(at))],
  'HTTPS, kept alive': ['https', (at) => clients.getting(tls(at))],
  'HTTPS, shared listener': ['https', (at) => clients.getting(tls(at)), 'none'],
  'HTTP/1 on an HTTP/2 server': ['http2', (at) => clients.getting(tls(at))],
  'HTTP/2': ['http2', (at) => clients.streaming(secure(at)), 'rr', clients.closeSession],
  'HTTP/2 in clear text': ['h2c', (at) => clients.streaming(clear(at)), 'rr', clients.closeSession],
  'slow answers': ['http', (at) => clients.getting(tcp(at), { path: '/slow', expected: /^slow$/ })],
  'uploads': ['http', (at) => clients.uploading(tcp(at), '/upload')],
  'uploads that are answered early': ['http', (at) => clients.uploading(tcp(at), '/early')],
  'event streams': ['http', (at) =>
    clients.getting(tcp(at), { path: '/events', expected: /data: 10\n\n$/ })],
  'Express': ['express', (at) => clients.getting(tcp(at))],
  'Fastify': ['fastify', (at) => clients.getting(tcp(at))],
  'a server with WebSockets': ['websocket', (at) => clients.getting(tcp(at))],
  'a server with Socket.IO': ['socketio', (at) => clients.getting(tcp(at))],
};

describe('replaced under load', { concurrency: 4 }, () => {
  for (const [name, [kind, turnFor, policy, finish]] of Object.entries(cases)) {
    const where = name.includes('Unix') ? unix(`${process.pid}.sock`) : '0';
    it(name, withCluster({ policy }, async (cluster) => {
      const options = { args: [kind, where], env: certificate() };
      const first = await cluster.start('server.cjs', options);
      const load = new clients.Load().run(CLIENTS, turnFor(first.address), finish);
      const ends = [];
      try {
        let current = first;
        for (let i = 0; i < REPLACEMENTS; i++) {
          await load.answer();
          const successor = await cluster.start('server.cjs', options);
          await cluster.drain(current.worker, { graceMs: GRACE_MS });
          ends.push(await cluster.end(current.worker));
          current = successor;
        }
        await load.answer();
      } finally {
        await load.stop();
      }
      assert.deepStrictEqual(load.failures, []);
      for (const { code, signal, exitedAfterDisconnect, stderr } of ends) {
        const expected = { code: 0, signal: null, exitedAfterDisconnect: true, stderr: '' };
        assert.deepStrictEqual({ code, signal, exitedAfterDisconnect, stderr }, expected);
      }
    }));
  }
});
