// Says what a program can see of its process; its argument says which part.
'use strict';

const childProcess = require('child_process');
const { isMainThread, Worker } = require('worker_threads');

const EVENTS = [
  'message', 'disconnect', 'uncaughtException', 'unhandledRejection', 'exit', 'beforeExit',
  'SIGTERM', 'SIGINT', 'SIGHUP', 'warning', 'newListener', 'removeListener', 'error',
];

const parts = {
  look: () => leaveWith(look()),
  idle: () => process.send('ready'),
  fork: () => {
    const child = childProcess.fork(__filename, ['child'], { silent: true });
    report(child.stdout, 'child');
  },
  child: () => say({ args: process.execArgv, cache: Object.keys(require.cache) }),
  spawned: () => {
    const child = childProcess.spawn(process.execPath, [...process.execArgv, __filename, 'child']);
    report(child.stdout, 'spawned');
  },
  thread: () => {
    const thread = new Worker(__filename, { argv: ['inside'] });
    thread.on('message', (seen) => leaveWith(seen));
  },
  throw: () => setTimeout(function thrower() {
    throw new Error('as it was');
  }, 1),
  reject: () => Promise.reject(new Error('rejected as it was')),
  refused: () => {
    const first = require('net').createServer().listen({ port: 0, host: '127.0.0.1', exclusive: true });
    first.on('listening', () => {
      const { port } = first.address();
      const second = require('net').createServer();
      second.on('error', ({ stack }) => leaveWith(stack.replaceAll(String(port), 'PORT')));
      second.listen({ port, host: '127.0.0.1', exclusive: true });
    });
  },
  // Does nothing more, and ends when a worker without a channel does.
  leave: () => process.disconnect(),
  exit: () => process.exit(7),
  request: () => {
    const server = require('http').createServer((_, response) => {
      response.end();
      leaveWith(new Error('where').stack);
    });
    server.listen(0, '127.0.0.1', () => {
      require('http').get({ port: server.address().port, host: '127.0.0.1' }).on('error', () => {});
    });
  },
};

function look() {
  return {
    args: process.execArgv,
    listeners: EVENTS.map((event) => [event, process.listenerCount(event)]),
    globals: Object.getOwnPropertyNames(globalThis).sort(),
    process: Reflect.ownKeys(process).map(String).sort(),
    cache: Object.keys(require.cache),
    environment: Object.keys(process.env).sort(),
    server: Object.keys(require('net').Server.prototype),
    refs: require('net').Server.prototype._listen2.name,
  };
}

function say(seen) {
  console.log(JSON.stringify(seen, null, 1));
}

function leaveWith(seen) {
  say(seen);
  process.disconnect();
}

function report(stream, name) {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk) => (text += chunk));
  stream.on('end', () => leaveWith({ [name]: text }));
}

if (isMainThread) {
  parts[process.argv[2]]();
} else {
  const { parentPort } = require('worker_threads');
  parentPort.postMessage({ args: process.execArgv, cache: Object.keys(require.cache) });
}
