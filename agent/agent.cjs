// Drains a Node.js cluster worker without losing a request, though the program in it has not
// one line of shutdown code.
//
// Forkyard preloads this file into its Node workers (`node --require FILE program.js`; Node 18
// and later). It has no dependencies and does nothing but watch until the primary asks for a
// drain, on the channel that every cluster worker has anyway. The drain itself is in the file
// beside it, drain.cjs, of which only the text is read until then: to compile it takes a fifth of
// what the agent adds to the start of a worker. For the same reason there is nothing but ASCII in
// here, and no regular expression that a start would need.
//
//   worker -> primary  {"cmd":"NODE_FORKYARD","act":"agent","version":1}             at load
//   primary -> worker  {"cmd":"NODE_FORKYARD","act":"drain","graceMs":N,"tell":[...]}  the first counts
//   worker -> primary  {"cmd":"NODE_FORKYARD","act":"draining","connections":N}      how far it is
//
// A drain goes like this:
//
//   told --> listening sockets closed --> answers say `Connection: close`, HTTP/2 says GOAWAY
//     --> a connection idle for the whole grace is closed --> none left: cluster.worker.disconnect()
//
// Why not `server.close()`: it closes idle connections at once, and a client that sends its next
// request in the same moment sees a reset. Here a client is told first, by the answer to its
// next request, and what is closed unasked has been silent for the whole grace. What has no idle
// state (WebSockets, raw TCP, answers under way) is waited for; its end is the primary's affair,
// and the program's, which gets the texts in `tell` as process 'message' events.
//
// What it touches in the program's process, and why:
//
// - process.execArgv and require.cache lose this file, so that the program's children and
//   threads do not load it and nobody who walks the cache meets it.
// - process has one more 'internalMessage' listener, an event that only Node's own code uses.
//   There is no 'message' listener: those keep the channel, and so the process, alive.
// - net.Server.prototype._listen2 and tls.TLSSocket.prototype._init are accessors that take
//   note of `this` and give back Node's own function. Wrappers would show in stack traces.
// - The diagnostics channel net.server.socket has a subscriber: one weak reference a connection.
//   Nothing is done per request until the drain.
// - While draining: answers get a `_storeHeader` of their own, connections a 'close' listener,
//   and closeIdleConnections() of HTTP servers does nothing, so that a program that closes its
//   server when told does not lose what it would have kept without that line.
//
// The internals it reads (socket.parser, socket._httpMessage, server._connections, the HTTP
// server's list of connections, the HTTP/2 session of a socket) are looked for, never assumed;
// what is missing makes the drain slower or less exact, not wrong. An error in here never
// reaches the program: the worker then leaves by cluster.worker.disconnect().
'use strict';

const CMD = 'NODE_FORKYARD';
const VERSION = 1;
// The same name with another first word.
const NAME_AT = __filename.lastIndexOf('agent');
const DRAIN_FILE = `${__filename.slice(0, NAME_AT)}drain${__filename.slice(NAME_AT + 5)}`;

/** Never throws: a program that cannot be drained is better than one that does not start. */
function begin() {
  try {
    forgetThisFile();
    // A worker thread has neither `connected` nor `send`: this is the main thread.
    if (process.connected && typeof process.send === 'function') {
      const cluster = require('cluster');
      if (cluster.isWorker && cluster.worker) {
        watch(cluster);
      }
    }
  } catch {
    // Without a word from us the primary drains this worker as one without agent.
  }
}

/** Takes this file out of what the program, its children and its threads see. */
function forgetThisFile() {
  const args = process.execArgv;
  for (let i = args.length - 1; i >= 0; i--) {
    if (args[i] === `--require=${__filename}`) {
      args.splice(i, 1);
    } else if (args[i] === __filename && (args[i - 1] === '--require' || args[i - 1] === '-r')) {
      args.splice(i - 1, 2);
    }
  }
  delete require.cache[__filename];
}

/** Keeps track of servers and connections, and waits for the primary's word. */
function watch(cluster) {
  // Taken now, because a program may replace them: fake timers in tests do.
  const { setTimeout, setImmediate } = require('timers');
  const { nextTick } = process;
  const { bigint: clock } = process.hrtime;
  const send = process.send;
  const net = require('net');
  const diagnostics = require('diagnostics_channel');
  // Read now, because a program may leave for another user or another root later on.
  const drainText = require('fs').readFileSync(DRAIN_FILE, 'utf8');

  const servers = new WeakList(() => false);
  const connections = new WeakList((socket) => socket.destroyed);
  const tlsSockets = new WeakList((socket) => socket.destroyed);
  // Held here, because older versions let go of a channel that nobody holds, subscribers and all.
  const acceptedChannel = diagnostics.channel('net.server.socket');
  let tlsIsWatched = false;
  let drain = null;
  let failed = false;

  const system = {
    net,
    servers,
    connections,
    tlsSockets,
    diagnostics,
    guarded,
    tell,
    say,
    leave: () => leave(cluster),
    nowMs: () => Number(clock() / 1000n) / 1000,
    soon: (work) => void setImmediate(guarded(work)),
    // Never what keeps the process alive.
    later: (work, ms) => void setTimeout(guarded(work), ms).unref(),
    nextTick: (work) => nextTick.call(process, guarded(work)),
  };

  noteCallers(net.Server.prototype, '_listen2', guarded(onListen));
  acceptedChannel.subscribe(guarded(onAccepted));
  process.on('internalMessage', guarded(onInternalMessage));
  guarded(say)({ act: 'agent', version: VERSION });

  function onListen(server) {
    servers.add(server);
    watchTls();
    if (drain) {
      drain.onListen(server);
    }
  }

  function onAccepted({ socket }) {
    connections.add(socket);
    if (drain) {
      drain.onAccepted(socket);
    }
  }

  /** Only when the program has loaded TLS itself: loading it takes milliseconds. */
  function watchTls() {
    if (!tlsIsWatched && isLoaded('tls')) {
      tlsIsWatched = true;
      const { TLSSocket } = require('tls');
      noteCallers(TLSSocket.prototype, '_init', guarded((socket) => tlsSockets.add(socket)));
    }
  }

  function onInternalMessage(message) {
    if (message === null || typeof message !== 'object' || message.cmd !== CMD) {
      return;
    }
    if (message.act === 'drain' && !drain) {
      drain = newDrain(message);
      drain.start();
      if (failed) {
        drain.giveUp();
      }
    }
  }

  /** Compiles what has not been needed so far; without it a worker leaves the way Node does. */
  function newDrain(message) {
    try {
      const module = { exports: {} };
      const { compileFunction } = require('vm');
      compileFunction(drainText, ['module'], { filename: DRAIN_FILE })(module);
      return new module.exports.Drain(system, message);
    } catch {
      const { leave } = system;
      return { start: leave, giveUp: leave, onListen: leave, onAccepted() {} };
    }
  }

  /** Emits `text` to the program as if the primary had sent it; what it throws is its own. */
  function tell(text) {
    nextTick.call(process, () => {
      if (process.listenerCount('message') > 0) {
        process.emit('message', text, undefined);
      }
    });
  }

  function say(message) {
    if (process.connected) {
      send.call(process, { cmd: CMD, ...message }, undefined, { swallowErrors: true }, () => {});
    }
  }

  function guarded(work) {
    return (...args) => {
      try {
        return work(...args);
      } catch {
        failed = true;
        if (drain) {
          drain.giveUp();
        }
      }
    };
  }
}

/** Objects that are to be found again, but not kept alive. */
class WeakList {
  #references = new Set();
  #limit = 64;
  #isOver;

  constructor(isOver) {
    this.#isOver = isOver;
  }

  add(object) {
    // Swept when it has doubled, so that an addition costs a constant amount of time.
    if (this.#references.size >= this.#limit) {
      this.#sweep();
    }
    this.#references.add(new WeakRef(object));
  }

  live() {
    this.#sweep();
    return new Set(Array.from(this.#references, (reference) => reference.deref()));
  }

  #sweep() {
    for (const reference of this.#references) {
      const object = reference.deref();
      if (object === undefined || this.#isOver(object)) {
        this.#references.delete(reference);
      }
    }
    this.#limit = Math.max(64, 2 * this.#references.size);
  }
}

/**
 * Replaces the method by an accessor that reports `this` and gives back the method itself: the
 * caller then calls Node's own function, and no frame of ours is in its stack traces.
 */
function noteCallers(prototype, name, note) {
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name);
  if (!descriptor || !('value' in descriptor) || !descriptor.configurable) {
    return;
  }
  let method = descriptor.value;
  Object.defineProperty(prototype, name, {
    configurable: true,
    enumerable: descriptor.enumerable,
    get() {
      if (this !== prototype) {
        note(this);
      }
      return method;
    },
    set(value) {
      if (this === prototype) {
        method = value;
      } else {
        Object.defineProperty(this, name, { ...descriptor, value });
      }
    },
  });
}

function isLoaded(name) {
  const list = process.moduleLoadList;
  return Array.isArray(list) && list.includes(`NativeModule ${name}`);
}

function leave(cluster) {
  try {
    if (process.connected) {
      cluster.Worker.prototype.disconnect.call(cluster.worker);
    }
  } catch {
    // The primary has a time-out.
  }
}

begin();
