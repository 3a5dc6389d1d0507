'use strict';
// Sends to its primary all that process.send can carry in the serialization in use,
// and says what became of it. Nobody has to listen for that to be harmless.

const http = require('node:http');

const both = [
  'text', '', 'ünïcödé \u2028 \ud83d\ude00', '\ud800', 0, -0, 1.5, -1e300, 2 ** 53, true, false,
  [], [1, [2, [3]]], {}, { a: { b: null } }, { cmd: 'mine' }, { cmd: 'NODE_MINE' },
  { cmd: 'NODE_CLUSTER' }, { cmd: 5 }, { act: 'newconn' }, 'line\nfeed\r\n', 'x'.repeat(300_000),
  { cmd: 'NODE_' }, { '': 1, __proto__x: 2 }, [null, null], { deep: '['.repeat(1000) },
];
const circle = { name: 'circle' };
circle.self = circle;
const holes = [1, , 3];
holes.extra = 'property';
const advancedOnly = [
  null, { big: 12345678901234567890n }, [-1n], new Date(0), new Date(NaN), /a+/gi, circle, holes,
  new Map([['k', new Set([1, 'two', { three: 3 }])]]), new Error('an error'), new RangeError('range'),
  new Uint8Array([1, 2, 3]), new Float64Array([1.5]), new BigInt64Array([1n]), Buffer.from('buffer'),
  new ArrayBuffer(16), new DataView(new ArrayBuffer(8), 2, 4), Object(1), Object('s'), Object(true),
  Object(1n), NaN, Infinity, [undefined, , undefined], { u: undefined }, Buffer.alloc(200_000, 1),
];
const advanced = process.argv[2] === 'advanced';
const all = advanced ? [...both, ...advancedOnly] : both;

const results = [];
all.forEach((message, index) => {
  const done = (error) => {
    results[index] = error ? String(error) : 'sent';
    if (Object.keys(results).length !== all.length) return;
    const failed = results.flatMap((result, at) => (result === 'sent' ? [] : [`${at}: ${result}`]));
    console.log(JSON.stringify({ messages: all.length, failed }));
    serve();
  };
  process.send(message, done);
});

function serve() {
  http
    .createServer((request, response) => response.end(JSON.stringify({ pid: process.pid })))
    .listen(0, '127.0.0.1');
}
