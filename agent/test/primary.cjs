// A reference primary: Node's own cluster, which preloads the agent into its workers, drains
// them by it, and leaves everything else to Node. Commanded over its own channel by
// `cluster.cjs`; ends with it.
'use strict';

const cluster = require('cluster');
const path = require('path');

const AGENT = path.join(__dirname, '..', 'agent.cjs');

const commands = { start, drain, message, kill };
const output = new Map();
const waiting = new Map();

process.on('message', ({ id, act, ...options }) => {
  commands[act](options, (answer) => process.send({ id, ...answer }));
});
process.on('disconnect', () => {
  for (const worker of Object.values(cluster.workers)) {
    worker.process.kill('SIGKILL');
  }
  process.exit();
});

cluster.on('exit', (worker, code, signal) => {
  const { exitedAfterDisconnect } = worker;
  const end = { worker: worker.id, code, signal, exitedAfterDisconnect, ...output.get(worker.id) };
  process.send({ event: 'exit', ...end });
});

/**
 * Starts a worker; answers when it listens, says 'ready', or has ended. `agent` is whether the
 * agent is preloaded, or the file of another one.
 */
function start({ exec, args = [], execArgv = [], agent = true, env = {} }, answer) {
  const preload = agent ? ['--require', agent === true ? AGENT : agent] : [];
  cluster.setupPrimary({ exec, args, silent: true, execArgv: [...preload, ...execArgv] });
  const worker = cluster.fork(env);
  const kept = { stdout: '', stderr: '' };
  output.set(worker.id, kept);
  for (const stream of ['stdout', 'stderr']) {
    worker.process[stream].setEncoding('utf8').on('data', (text) => (kept[stream] += text));
  }
  worker.process.on('internalMessage', (message) => {
    if (message.cmd === 'NODE_FORKYARD') {
      // Without its `cmd`, or it would be internal on our own channel, too.
      process.send({ ...message, cmd: undefined, event: message.act, worker: worker.id });
    }
  });
  const started = (address) => answer({ worker: worker.id, pid: worker.process.pid, address });
  worker.once('listening', started);
  worker.on('message', (text) => {
    process.send({ event: 'message', worker: worker.id, text });
    if (text === 'ready') {
      started();
    }
  });
  worker.once('exit', () => answer({ worker: worker.id, ended: true }));
}

function drain({ worker, graceMs, tell }, answer) {
  cluster.workers[worker].process.send({ cmd: 'NODE_FORKYARD', act: 'drain', graceMs, tell });
  answer({});
}

function message({ worker, text }, answer) {
  cluster.workers[worker].send(text);
  answer({});
}

function kill({ worker, signal }, answer) {
  cluster.workers[worker].process.kill(signal);
  answer({});
}
