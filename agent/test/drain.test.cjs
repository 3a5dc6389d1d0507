// What a drain does, one sentence a test. Nothing here waits for time to pass: where a grace has
// to be over, another connection shows it by being closed.
'use strict';

const assert = require('assert');
const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const net = require('net');
const os = require('os');
const path = require('path');
const tls = require('tls');
const { EventEmitter, once } = require('events');
const { describe, it } = require('node:test');
const { certificate, within, withCluster } = require('./cluster.cjs');
const { answersTo, ask } = require('./clients.cjs');

const LONG_MS = 600_000;
const SHORT_MS = 100;
const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';

const at = ({ port }) => ({ host: '127.0.0.1', port });

function test(name, run, options) {
  it(name, withCluster(options, run));
}

/** Starts the server, and says where it is. */
async function serve(cluster, kind = 'http') {
  const { worker, address } = await cluster.start('server.cjs', { args: [kind], env: certificate() });
  return { worker, target: at(address) };
}

/** Drains, and returns when the worker has begun to. */
async function begin(cluster, worker, options) {
  const begun = cluster.next('draining', worker);
  await cluster.drain(worker, options);
  return begun;
}

async function connect(target) {
  const socket = net.connect(target).on('error', () => {});
  await within(once(socket, 'connect'), 'a connection');
  return socket;
}

/** A connection that has had an answer, so that it is certainly the worker's. */
async function kept(target) {
  const socket = await connect(target);
  await answersTo(socket, GET, 1);
  return socket;
}

/** A copy of the agent's files in a folder of their own. */
function copyAgent() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'forkyard-agent-'));
  const copy = (name) => {
    fs.copyFileSync(path.join(__dirname, '..', name), path.join(folder, name));
    return path.join(folder, name);
  };
  const remove = () => fs.rmSync(folder, { recursive: true, force: true });
  return { agent: copy('agent.cjs'), drain: copy('drain.cjs'), remove };
}

function closed(socket) {
  socket.resume();
  return socket.closed ? undefined : within(once(socket, 'close'), 'the end of a connection');
}

async function textOf(socket) {
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => (text += chunk));
  await closed(socket);
  return text;
}

async function endsWell(cluster, worker) {
  const { code, signal, exitedAfterDisconnect, stderr } = await cluster.end(worker);
  const expected = { code: 0, signal: null, exitedAfterDisconnect: true, stderr: '' };
  assert.deepStrictEqual({ code, signal, exitedAfterDisconnect, stderr }, expected);
}

/** Stands between client and server, and can keep what the server says. */
async function startRelay(target) {
  const kept = [];
  const events = new EventEmitter();
  let isHeld = false;
  let client;
  const relay = net.createServer((socket) => {
    client = socket.on('error', () => {});
    const server = net.connect(target).on('error', () => {});
    client.pipe(server);
    client.on('data', () => events.emit('sent'));
    const pass = (step) => {
      if (isHeld) {
        kept.push(step);
        events.emit('held');
      } else {
        step();
      }
    };
    server.on('data', (chunk) => pass(() => client.write(chunk)));
    server.on('end', () => pass(() => client.end()));
  });
  await once(relay.listen(0, '127.0.0.1'), 'listening');
  return {
    port: relay.address().port,
    hold: () => (isHeld = true),
    heard: () => kept.length > 0 || once(events, 'held'),
    sent: () => once(events, 'sent'),
    release: () => {
      isHeld = false;
      kept.splice(0).forEach((step) => step());
    },
    close: () => relay.close(),
  };
}

describe('a drain', { concurrency: 4 }, () => {
  test('ends at once when there is no connection', async (cluster) => {
    const { worker } = await serve(cluster);
    await cluster.drain(worker, { graceMs: LONG_MS });
    await endsWell(cluster, worker);
  });

  test('ends at once when the program never listened', async (cluster) => {
    const { worker } = await cluster.start('probe.cjs', { args: ['idle'] });
    await cluster.drain(worker, { graceMs: LONG_MS });
    await endsWell(cluster, worker);
  });

  test('is over when the last connection is, grace or not', async (cluster) => {
    const { worker, target } = await serve(cluster);
    const socket = await kept(target);
    assert.strictEqual((await begin(cluster, worker, { graceMs: LONG_MS })).connections, 1);
    socket.destroy();
    await endsWell(cluster, worker);
  });

  test('happens once', async (cluster) => {
    const { worker, address } = await cluster.start('told.cjs', { args: ['repeat'] });
    const socket = await kept(at(address));
    const texts = [];
    cluster.on('message', ({ text }) => texts.push(text));
    await begin(cluster, worker, { graceMs: LONG_MS, tell: ['first'] });
    await cluster.drain(worker, { graceMs: LONG_MS, tell: ['second'] });
    assert.match(await answersTo(socket, GET, 1), /^Connection: close\r$/m);
    await endsWell(cluster, worker);
    assert.deepStrictEqual(texts, ['told first']);
  });

  test('with no grace closes what is idle at once', async (cluster) => {
    const { worker, target } = await serve(cluster);
    const socket = await kept(target);
    await cluster.drain(worker, { graceMs: 0 });
    await closed(socket);
    await endsWell(cluster, worker);
  });

  test('takes no new connections', async (cluster) => {
    const { worker, target } = await serve(cluster);
    await kept(target);
    await begin(cluster, worker, { graceMs: LONG_MS });
    const [error] = await within(once(net.connect(target), 'error'), 'a refusal');
    assert.strictEqual(error.code, 'ECONNREFUSED');
  });

  test('takes none on a socket that is the worker\'s own', async (cluster) => {
    const port = new Promise((resolve) => {
      cluster.on('message', ({ text }) => typeof text === 'number' && resolve(text));
    });
    const { worker } = await cluster.start('exclusive.cjs');
    const target = at({ port: await port });
    const socket = await kept(target);
    await begin(cluster, worker, { graceMs: LONG_MS });
    const [error] = await within(once(net.connect(target), 'error'), 'a refusal');
    assert.strictEqual(error.code, 'ECONNREFUSED');
    socket.destroy();
    await endsWell(cluster, worker);
  });

  test('declines a connection that was handed over meanwhile', async (cluster) => {
    const first = await serve(cluster);
    const second = await serve(cluster);
    assert.deepStrictEqual(first.target, second.target);
    await cluster.drain(first.worker, { graceMs: LONG_MS });
    const agent = new http.Agent({ keepAlive: false });
    const asked = Array.from({ length: 50 }, () => ask(first.target, { agent }));
    for (const { text } of await Promise.all(asked)) {
      assert.match(text, /^ok /);
    }
    await endsWell(cluster, first.worker);
  });

  test('has an answer that was begun before say Connection: close', async (cluster) => {
    const { worker, target } = await serve(cluster);
    const held = cluster.next('message', worker);
    const answer = ask(target, { path: '/held', agent: new http.Agent({ keepAlive: true }) });
    await held;
    await begin(cluster, worker, { graceMs: LONG_MS });
    await cluster.message(worker, 'release');
    assert.strictEqual((await answer).headers.connection, 'close');
    await endsWell(cluster, worker);
  });

  test('has one on TLS say it as well', async (cluster) => {
    const { worker, target } = await serve(cluster, 'https');
    const held = cluster.next('message', worker);
    const agent = new (require('https').Agent)({ keepAlive: true });
    const answer = ask({ ...target, tls: true }, { path: '/held', agent });
    await held;
    await begin(cluster, worker, { graceMs: LONG_MS });
    await cluster.message(worker, 'release');
    assert.strictEqual((await answer).headers.connection, 'close');
    await endsWell(cluster, worker);
  });

  for (const [path, text] of [['/kept', 'kept'], ['/bare', 'bare']]) {
    test(`has one say it whose program says otherwise (${path})`, async (cluster) => {
      const { worker, target } = await serve(cluster);
      const agent = new http.Agent({ keepAlive: true });
      await ask(target, { agent });
      await begin(cluster, worker, { graceMs: LONG_MS });
      const answer = await ask(target, { path, agent });
      assert.strictEqual(answer.text, text);
      assert.strictEqual(answer.headers.connection, 'close');
      await endsWell(cluster, worker);
    });
  }

  test('lets an answer whose header is out be followed by one that says it', async (cluster) => {
    const { worker, target } = await serve(cluster);
    const socket = await connect(target);
    const held = cluster.next('message', worker);
    socket.write(GET.replace('/', '/open'));
    await held;
    await begin(cluster, worker, { graceMs: LONG_MS });
    await cluster.message(worker, 'release');
    let text = '';
    socket.setEncoding('utf8');
    for await (const chunk of socket) {
      text += chunk;
      if (text.endsWith('\r\n0\r\n\r\n')) {
        assert.match(text, /^Connection: keep-alive\r$/m);
        socket.write(GET);
      }
    }
    assert.match(text, /^Connection: close\r$[^]*ok/m);
    await endsWell(cluster, worker);
  });

  test('answers all pipelined requests, and says it with the last', async (cluster) => {
    const { worker, target } = await serve(cluster);
    const socket = await kept(target);
    await begin(cluster, worker, { graceMs: LONG_MS });
    const text = textOf(socket);
    socket.write(GET + GET.replace('/', '/slow') + GET);
    const heads = (await text).match(/^Connection: .*\r$/gm);
    assert.deepStrictEqual(heads, ['keep-alive', 'keep-alive', 'close'].map((v) => `Connection: ${v}\r`));
    await endsWell(cluster, worker);
  });

  test('answers pipelined requests that came before it', async (cluster) => {
    const { worker, target } = await serve(cluster);
    const socket = await connect(target);
    const held = cluster.next('message', worker);
    const text = textOf(socket);
    socket.write(GET.replace('/', '/held') + GET + GET);
    await held;
    // The heads of the other two are made already, only not sent: nothing can be said any more.
    await begin(cluster, worker, { graceMs: SHORT_MS });
    await cluster.message(worker, 'release');
    assert.strictEqual((await text).match(/HTTP\/1.1 200/g).length, 3);
    await endsWell(cluster, worker);
  });

  test('reads the rest of a request that was answered early', async (cluster) => {
    const { worker, target } = await serve(cluster);
    const socket = net.connect({ ...target, allowHalfOpen: true });
    await within(once(socket, 'connect'), 'a connection');
    const length = 2_000_000;
    await answersTo(socket, GET, 1);
    await begin(cluster, worker, { graceMs: LONG_MS });
    let text = '';
    const answered = new Promise((resolve, reject) => {
      socket.on('error', reject).on('end', () => reject(new Error('closed too soon')));
      socket.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
        if (/early/.test(text)) {
          socket.removeAllListeners('end');
          resolve();
        }
      });
    });
    socket.write(`POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`);
    await within(answered, 'the answer');
    assert.match(text, /^Connection: close\r$/m);
    // A connection that had been closed would be reset by this.
    socket.end('x'.repeat(length));
    await closed(socket);
    assert.strictEqual(socket.errored, null);
    await endsWell(cluster, worker);
  });

  test('closes a connection on which nothing ever came', async (cluster) => {
    const { worker, target } = await serve(cluster);
    // Workers take connections in order.
    const silent = await connect(target);
    (await kept(target)).destroy();
    await begin(cluster, worker, { graceMs: SHORT_MS });
    await closed(silent);
    await endsWell(cluster, worker);
  });

  test('closes one on which TLS was never begun', async (cluster) => {
    const { worker, target } = await serve(cluster, 'https');
    const silent = await connect(target);
    await ask({ ...target, tls: true }, { agent: new (require('https').Agent)() });
    await begin(cluster, worker, { graceMs: SHORT_MS });
    await closed(silent);
    await endsWell(cluster, worker);
  });

  test('does not close one whose request has come in part', async (cluster) => {
    const { worker, target } = await serve(cluster);
    const partial = await kept(target);
    partial.write(GET.slice(0, 10));
    const idle = await kept(target);
    await begin(cluster, worker, { graceMs: SHORT_MS });
    await closed(idle);
    const text = textOf(partial);
    partial.write(GET.slice(10));
    assert.match(await text, /^Connection: close\r$[^]*ok/m);
    await endsWell(cluster, worker);
  });

  test('waits for raw TCP', async (cluster) => {
    const { worker, target } = await serve(cluster, 'tcp');
    const socket = await connect(target);
    socket.write('before');
    await once(socket, 'data');
    await begin(cluster, worker, { graceMs: 0 });
    socket.write('after');
    assert.strictEqual(String((await once(socket, 'data'))[0]), 'after');
    socket.end();
    await endsWell(cluster, worker);
  });

  test('waits for WebSockets', async (cluster) => {
    const { WebSocket } = require('ws');
    const { worker, target } = await serve(cluster, 'websocket');
    const socket = new WebSocket(`ws://127.0.0.1:${target.port}`);
    await once(socket, 'open');
    const idle = await kept(target);
    await begin(cluster, worker, { graceMs: SHORT_MS });
    await closed(idle);
    socket.send('still there');
    assert.strictEqual(String((await once(socket, 'message'))[0]), 'echo still there');
    socket.close();
    await endsWell(cluster, worker);
  });

  test('waits for Socket.IO', async (cluster) => {
    const { worker, target } = await serve(cluster, 'socketio');
    const { io } = require('socket.io-client');
    const socket = io(`http://127.0.0.1:${target.port}`, { reconnection: false });
    // It begins by polling.
    await once(socket.io.engine, 'upgrade');
    await begin(cluster, worker, { graceMs: SHORT_MS });
    assert.strictEqual(await socket.emitWithAck('ask', 'this'), 'echo this');
    socket.close();
    await endsWell(cluster, worker);
  });

  test('says GOAWAY on HTTP/2 and finishes the streams that it has', async (cluster) => {
    const { worker, target } = await serve(cluster, 'h2c');
    const session = http2.connect(`http://127.0.0.1:${target.port}`);
    const held = cluster.next('message', worker);
    const stream = session.request({ ':path': '/held' });
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    await held;
    const goaway = within(once(session, 'goaway'), 'a GOAWAY');
    await cluster.drain(worker, { graceMs: LONG_MS });
    assert.deepStrictEqual((await goaway).slice(0, 2), [0, stream.id]);
    const ended = within(once(stream, 'end'), 'the end of the stream');
    await cluster.message(worker, 'release');
    await ended;
    assert.strictEqual(text, 'done');
    await endsWell(cluster, worker);
  });

  test('does not wait for an HTTP/2 client that keeps its side open', async (cluster) => {
    const { worker, target } = await serve(cluster, 'h2c');
    const socket = net.connect({ ...target, allowHalfOpen: true }).on('error', () => {});
    // The preface, and empty settings; then the server's settings have come.
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0');
    await within(once(socket, 'data'), 'the settings');
    await cluster.drain(worker, { graceMs: SHORT_MS });
    await endsWell(cluster, worker);
  });

  test('says on HTTP/2 which streams it has not taken', async (cluster) => {
    const { worker, target } = await serve(cluster, 'h2c');
    const relay = await startRelay(target);
    const session = http2.connect(`http://127.0.0.1:${relay.port}`);
    const first = session.request({ ':path': '/' }).resume();
    await within(once(first, 'close'), 'the first answer');
    relay.hold();
    await cluster.drain(worker, { graceMs: LONG_MS });
    await within(relay.heard(), 'the GOAWAY');
    // The client does not know yet.
    const late = session.request({ ':path': '/' }).on('error', () => {});
    const gone = within(once(late, 'close').catch(() => {}), 'the end of the late stream');
    await within(relay.sent(), 'the late stream');
    relay.release();
    await gone;
    assert.strictEqual(late.rstCode, http2.constants.NGHTTP2_REFUSED_STREAM);
    await endsWell(cluster, worker);
    relay.close();
  });

  test('tells the program', async (cluster) => {
    const { worker, address } = await cluster.start('told.cjs', { args: ['repeat'] });
    const socket = await kept(at(address));
    const texts = [];
    cluster.on('message', ({ text }) => texts.push(text));
    await begin(cluster, worker, { graceMs: LONG_MS, tell: ['forkyard:drain', 'shutdown'] });
    socket.destroy();
    await endsWell(cluster, worker);
    assert.deepStrictEqual(texts, ['told forkyard:drain', 'told shutdown']);
  });

  test('is as gentle when the program closes its server', async (cluster) => {
    const { worker, address } = await cluster.start('told.cjs', { args: ['close'] });
    const socket = await kept(at(address));
    await begin(cluster, worker, { graceMs: LONG_MS });
    assert.match(await answersTo(socket, GET, 1), /^Connection: close\r$/m);
    const { stdout, ...end } = await cluster.end(worker);
    assert.strictEqual(end.code, 0);
  });

  test('leaves what the program throws when told to the program', async (cluster) => {
    const { worker } = await cluster.start('told.cjs', { args: ['throw'] });
    await cluster.drain(worker);
    const { code, stderr } = await cluster.end(worker);
    assert.strictEqual(code, 1);
    assert.match(stderr, /Error: thrown when told/);
  });

  test('becomes a plain disconnect where it cannot work', async (cluster) => {
    const { worker, address } = await cluster.start('told.cjs', { args: ['sealed'] });
    const socket = await kept(at(address));
    await cluster.drain(worker, { graceMs: LONG_MS });
    // Node 18 does not close idle connections when it disconnects.
    socket.end();
    await endsWell(cluster, worker);
  });

  test('needs its files no more once the worker runs', async (cluster) => {
    const { agent, remove } = copyAgent();
    const { worker, address } = await cluster.start('server.cjs', { args: ['http'], agent });
    remove();
    const socket = await kept(at(address));
    assert.strictEqual((await begin(cluster, worker, { graceMs: LONG_MS })).connections, 1);
    socket.destroy();
    await endsWell(cluster, worker);
  });

  test('becomes a plain disconnect where it cannot be compiled', async (cluster) => {
    const { agent, drain, remove } = copyAgent();
    fs.writeFileSync(drain, 'this is no JavaScript');
    const { worker, address } = await cluster.start('server.cjs', { args: ['http'], agent });
    remove();
    const socket = await kept(at(address));
    await cluster.drain(worker, { graceMs: LONG_MS });
    // Node 18 does not close idle connections when it disconnects.
    socket.end();
    await endsWell(cluster, worker);
  });

  test('survives being asked for something odd', async (cluster) => {
    const { worker } = await serve(cluster);
    await cluster.drain(worker, { graceMs: 'soon', tell: { a: 1 } });
    await endsWell(cluster, worker);
  });
});
