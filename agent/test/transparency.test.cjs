// A program sees, does and ends the same with the agent as without. Everything is run both
// ways and compared.
'use strict';

const assert = require('assert');
const path = require('path');
const { pathToFileURL } = require('url');
const { describe, it } = require('node:test');
const { withCluster } = require('./cluster.cjs');
const { ask } = require('./clients.cjs');

const [major, minor] = process.versions.node.split('.').map(Number);
const program = (name) => path.join(__dirname, 'programs', name);

async function run(cluster, args, agent) {
  const { worker } = await cluster.start('probe.cjs', { args: [args], agent });
  const { code, signal, stdout, stderr } = await cluster.end(worker);
  // V8 says by which property a function was called only if it is a plain one.
  return { code, signal, stdout: stdout.replace(' [as _listen2]', ''), stderr };
}

const parts = {
  look: 'its globals, listeners, arguments, modules and environment',
  fork: 'what a forked child gets',
  spawned: 'what a child with the same arguments gets',
  thread: 'what a worker thread gets',
  throw: 'an uncaught exception',
  reject: 'an unhandled rejection',
  refused: 'the stack of a refused listen',
  request: 'the stack inside a request',
  leave: 'an end by disconnecting',
  exit: 'an exit',
};

describe('the same with and without the agent', { concurrency: 2 }, () => {
  for (const [part, what] of Object.entries(parts)) {
    it(what, withCluster({}, async (cluster) => {
      const [plain, watched] = await Promise.all([run(cluster, part, false), run(cluster, part, true)]);
      assert.deepStrictEqual(watched, plain);
      const isSilent = part === 'leave' || part === 'exit';
      assert.strictEqual((plain.stdout + plain.stderr).length === 0, isSilent);
    }));
  }

  it('a signal', withCluster({}, async (cluster) => {
    const { worker } = await cluster.start('server.cjs', { args: ['http'] });
    await cluster.kill(worker, 'SIGTERM');
    assert.strictEqual((await cluster.end(worker)).signal, 'SIGTERM');
  }));
});

describe('works beside', { concurrency: 2 }, () => {
  // What users preload themselves. `--import` is there since 18.18.
  const imported = pathToFileURL(program('imported.mjs')).href;
  const ways = {
    'an ECMAScript module': ['module.mjs', {}, 'ok undefined'],
    '--import': ['module.mjs', { execArgv: ['--import', imported] }, 'ok 1'],
    '--import in NODE_OPTIONS': ['module.mjs', { env: { NODE_OPTIONS: `--import ${imported}` } }, 'ok 1'],
    '--require in NODE_OPTIONS':
      ['module.mjs', { env: { NODE_OPTIONS: `--require ${program('beside.cjs')}` } }, 'ok undefined'],
  };
  // Since then without a flag.
  if (major > 22 || (major === 22 && minor >= 18)) {
    ways.TypeScript = ['typed.ts', {}, 'ok typed'];
  }
  for (const [name, [file, options, expected]] of Object.entries(ways)) {
    it(name, withCluster({}, async (cluster) => {
      const { worker, address } = await cluster.start(file, options);
      const { text } = await ask({ host: '127.0.0.1', port: address.port }, { agent: false });
      assert.strictEqual(text, expected);
      await cluster.drain(worker);
      assert.strictEqual((await cluster.end(worker)).exitedAfterDisconnect, true);
    }));
  }
});
