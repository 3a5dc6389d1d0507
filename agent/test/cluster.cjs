// One cluster for one test: its primary is a process of its own (`primary.cjs`).
'use strict';

const { fork, execFileSync } = require('child_process');
const { EventEmitter, once } = require('events');
const fs = require('fs');
const os = require('os');
const path = require('path');

// For a machine that is busy with other things.
const DEADLINE_MS = 60_000;

class Cluster extends EventEmitter {
  #primary;
  #answers = new Map();
  #lastId = 0;
  #ends = new Map();

  /** `policy` is 'rr' or 'none', as Node's own variable has it. */
  constructor({ policy = 'rr' } = {}) {
    super();
    this.#primary = fork(path.join(__dirname, 'primary.cjs'), {
      execArgv: [],
      env: { ...process.env, NODE_CLUSTER_SCHED_POLICY: policy },
    });
    this.#primary.on('message', (message) => this.#onMessage(message));
  }

  #onMessage({ id, event, ...rest }) {
    if (event) {
      if (event === 'exit') {
        this.#ends.set(rest.worker, rest);
      }
      this.emit(event, rest);
      this.emit(`${event} ${rest.worker}`, rest);
    } else {
      const answer = this.#answers.get(id);
      this.#answers.delete(id);
      answer?.(rest);
    }
  }

  #ask(act, options) {
    const id = ++this.#lastId;
    this.#primary.send({ id, act, ...options });
    return within(new Promise((resolve) => this.#answers.set(id, resolve)), act);
  }

  /** Starts a program of the folder `programs`, or of an absolute path. */
  start(program, options = {}) {
    return this.#ask('start', { exec: path.resolve(__dirname, 'programs', program), ...options });
  }

  drain(worker, { graceMs = 1000, tell = ['forkyard:drain'] } = {}) {
    return this.#ask('drain', { worker, graceMs, tell });
  }

  message(worker, text) {
    return this.#ask('message', { worker, text });
  }

  kill(worker, signal) {
    return this.#ask('kill', { worker, signal });
  }

  /** How the worker ended, when it has. */
  async end(worker) {
    if (!this.#ends.has(worker)) {
      await within(once(this, `exit ${worker}`), `the end of worker ${worker}`);
    }
    return this.#ends.get(worker);
  }

  /** What the worker says: event is 'agent', 'draining' or 'message'. */
  async next(event, worker) {
    const [said] = await within(once(this, `${event} ${worker}`), `${event} of worker ${worker}`);
    return said;
  }

  async close() {
    if (this.#primary.connected) {
      const gone = once(this.#primary, 'exit');
      this.#primary.disconnect();
      await gone;
    }
  }
}

/** Runs `test` with a cluster that is closed afterwards. */
function withCluster(options, test) {
  return async () => {
    const cluster = new Cluster(options);
    try {
      await test(cluster);
    } finally {
      await cluster.close();
    }
  };
}

/** The promise's value, or an error that says what never came. */
async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come in time`)), DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

let folder;
/** A folder for sockets and keys that goes with the process. */
function scratch() {
  if (!folder) {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'forkyard-agent-'));
    process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  }
  return folder;
}

/** The environment in which the programs find a key and a certificate. */
function certificate() {
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(scratch(), name));
  if (!fs.existsSync(cert)) {
    execFileSync('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
      '-days', '2', '-subj', '/CN=localhost', '-keyout', key, '-out', cert,
    ], { stdio: 'ignore' });
  }
  return { KEY: key, CERT: cert };
}

module.exports = { Cluster, certificate, scratch, within, withCluster };
