'use strict';
// Sends its primary all that process.send can carry, and expects each message to come
// back as it went; then handles, which have to come back and work. Says what differs.

const dgram = require('node:dgram');
const net = require('node:net');
const util = require('node:util');

const advanced = process.argv[2] === 'advanced';

const both = [
  'text', '', 'ünïcödé \u2028 \ud83d\ude00', 0, 1.5, -1e300, 5e-324, 2 ** 53, true, false, [],
  [1, [2, [3]]], {}, { a: { b: null } }, { cmd: 'mine' }, 'line\nfeed\r\n', 'x'.repeat(300_000),
  { '': 1 }, [null, null], { 10: 'a', 2: 'b', z: 1, a: 2 }, '\0', 'ÿ', { n: -0.5 },
];
const circle = { name: 'circle' };
circle.self = circle;
const holes = [1, , 3];
const extra = [1, 2];
extra.name = 'property';
const twice = { shared: true };
const advancedOnly = [
  -0, NaN, Infinity, { big: 12345678901234567890n }, [-1n, 0n], new Date(0), new Date(NaN), /a+/gi,
  circle, holes, extra, [twice, twice], new Map([['k', new Set([1, 'two', { three: 3 }])]]),
  new Error('an error'), new RangeError('a range'), new Uint8Array([1, 2, 3]),
  new Float64Array([1.5]), new BigInt64Array([1n]), Buffer.from('buffer'), new ArrayBuffer(16),
  new DataView(new ArrayBuffer(8), 2, 4), Object(1), Object('s'), Object(true),
  [undefined, , undefined], { u: undefined }, Buffer.alloc(200_000, 1),
];
const messages = advanced ? [...both, ...advancedOnly] : both;

const asSent = (message) => (advanced ? message : JSON.parse(JSON.stringify(message)));
// An error comes back with the same name, message and stack, but Node compares no more.
const same = (one, other) => {
  if (one instanceof Error) {
    return other instanceof Error && `${one}` === `${other}` && one.stack === other.stack;
  }
  // Node 18 finds no date equal to itself that is none.
  if (one instanceof Date && Number.isNaN(one.getTime())) return Number.isNaN(other.getTime());
  return util.isDeepStrictEqual(one, other);
};

const say = (fields) => console.log(JSON.stringify(fields));

function echoMessages(next) {
  const differ = [];
  let at = 0;
  const send = () => process.send(messages[at]);
  process.on('message', function check(message) {
    const expected = asSent(messages[at]);
    if (!same(expected, message)) {
      differ.push(`${at}: ${util.inspect(message).slice(0, 200)} for ${util.inspect(expected).slice(0, 200)}`);
    }
    at += 1;
    if (at < messages.length) return send();
    process.removeListener('message', check);
    say({ echoed: at, differ });
    next();
  });
  send();
}

// Each handle is sent to the primary and used by whatever comes back.
function echoSocket(next) {
  const server = net.createServer((peer) => {
    server.close();
    process.once('message', (message, handle) => {
      handle.end(`back: ${message.handle}`);
    });
    process.send({ handle: 'socket' }, peer);
  });
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
    let text = '';
    const client = net.connect(server.address().port, '127.0.0.1');
    client.on('data', (data) => (text += data));
    client.on('end', () => {
      say({ socket: text });
      next();
    });
  });
}

function echoServer(next) {
  // Node 18 asks the primary for what it has just been given.
  if (process.version.startsWith('v18.')) return next();
  const server = net.createServer();
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
    process.once('message', (message, handle) => {
      server.close();
      handle.on('connection', (peer) => {
        peer.end('served by the server that came back');
        handle.close();
      });
      let text = '';
      const client = net.connect(handle.address().port, '127.0.0.1');
      client.on('data', (data) => (text += data));
      client.on('end', () => {
        say({ server: text });
        next();
      });
    });
    process.send({ handle: 'server' }, server);
  });
}

function echoUdp(next) {
  const socket = dgram.createSocket('udp4');
  socket.bind({ port: 0, address: '127.0.0.1', exclusive: true }, () => {
    process.once('message', (message, handle) => {
      const { port } = handle.address();
      socket.close();
      handle.on('message', (data) => {
        handle.close();
        say({ udp: String(data) });
        next();
      });
      handle.send('to the socket that came back', port, '127.0.0.1');
    });
    process.send({ handle: 'udp' }, socket);
  });
}

// The ways of Node to test the channel from within: a message without anybody waiting.
process.on('message', () => {});
echoMessages(() => echoSocket(() => echoServer(() => echoUdp(() => {
  say({ done: true });
  process.disconnect();
}))));
