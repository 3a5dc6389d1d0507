// The drain of a worker; see agent.cjs beside it, which compiles this file when the primary asks
// for one, and says what it touches in the program's process. It gets all it needs from there and
// has no `require` of its own.
'use strict';

const DEFAULT_GRACE_MS = 2000;
// How old the last look at the network may be when an idle connection is closed.
const FRESH_MS = 1;
const MOST_FRESH_TRIES = 20;
// How many are closed between two looks at the network.
const CLOSED_AT_ONCE = 32;
// How long a client may take to close a connection that we have closed on our side.
const LEAST_LINGER_MS = 1000;

/** One drain, from the primary's word to `cluster.worker.disconnect()`. */
class Drain {
  #system;
  #graceMs;
  #texts;
  #answers;
  // Of each open connection: what it was when looked at last.
  #records = new Map();
  #reported = -1;
  #isOver = false;

  constructor(system, { graceMs, tell }) {
    this.#system = system;
    this.#graceMs = Number.isFinite(graceMs) && graceMs >= 0 ? graceMs : DEFAULT_GRACE_MS;
    this.#texts = Array.isArray(tell) ? tell.filter((text) => typeof text === 'string') : [];
    this.#answers = new Answers(system);
  }

  start() {
    const { diagnostics, guarded, servers, soon, tell } = this.#system;
    for (const server of servers.live()) {
      keepIdleConnections(server);
    }
    this.#answers.subscribe(diagnostics, guarded);
    // The program first, so that a close() of its own finds its servers still listening.
    this.#texts.forEach(tell);
    // Then after a look at the network: a socket that is the worker's own (`exclusive`,
    // `reusePort`) loses what still waits in its queue.
    soon(() => {
      this.#stopListening();
      this.#look();
    });
  }

  onListen(server) {
    keepIdleConnections(server);
    this.#system.soon(() => this.#stopListening());
  }

  onAccepted(socket) {
    this.#record(socket);
  }

  /** Leaves the way Node does, because something in here went wrong. */
  giveUp() {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    try {
      for (const server of this.#system.servers.live()) {
        Reflect.deleteProperty(server, 'closeIdleConnections');
      }
    } catch {
      // Then they are closed less gently, or later.
    }
    this.#system.leave();
  }

  /** Closes the listening handles alone; the overrides of close() would close connections. */
  #stopListening() {
    const { net, servers } = this.#system;
    for (const server of servers.live()) {
      if (server._handle) {
        net.Server.prototype.close.call(server);
      }
    }
  }

  /** Looks at all connections, and comes back until there are none. */
  #look() {
    if (this.#isOver) {
      return;
    }
    const due = this.#due();
    if (!this.#endIfEmpty()) {
      this.#report();
      this.#closeWhenFresh(due, MOST_FRESH_TRIES);
      this.#system.later(() => this.#look(), Math.min(Math.max(this.#graceMs / 8, 10), 250));
    }
  }

  /** Brings the records up to date; gives those whose grace is over. */
  #due() {
    const view = this.#view();
    const now = this.#system.nowMs();
    const due = [];
    for (const socket of this.#openSockets()) {
      const record = this.#record(socket);
      const isIdle = this.#isIdle(record, view, now);
      if (isIdle && (record.session || now - record.idleSince >= this.#graceMs)) {
        due.push(record);
      }
    }
    return due;
  }

  /** The connections as the program sees them: TLS on top of TCP, idle parsers. */
  #view() {
    const { servers, tlsSockets } = this.#system;
    const tlsOf = new Map();
    for (const tls of tlsSockets.live()) {
      const carrier = (tls._handle && tls._handle._parentWrap) || tls._parent;
      if (carrier) {
        tlsOf.set(carrier, tls);
      }
    }
    const idleParsers = new Set();
    const listsOf = new Map();
    for (const server of servers.live()) {
      const list = connectionsListOf(server);
      if (list) {
        listsOf.set(server, list);
        list.idle().forEach((parser) => idleParsers.add(parser));
      }
    }
    return { tlsOf, idleParsers, listsOf };
  }

  #openSockets() {
    const known = this.#system.connections.live();
    if (known.size < this.#counted()) {
      for (const socket of socketsByHandle(this.#system.net)) {
        known.add(socket);
      }
    }
    for (const socket of known) {
      if (!isOpen(socket)) {
        known.delete(socket);
      }
    }
    return known;
  }

  /** What the servers count; versions without the channel know no other number. */
  #counted() {
    let count = 0;
    for (const server of this.#system.servers.live()) {
      count += server._connections > 0 ? server._connections : 0;
    }
    return count;
  }

  #record(socket) {
    let record = this.#records.get(socket);
    if (!record) {
      record = { socket, surface: socket, session: null, bytes: -1, idleSince: 0, closedAt: null };
      this.#records.set(socket, record);
      const { guarded, soon } = this.#system;
      socket.once('close', guarded(() => {
        this.#records.delete(socket);
        soon(() => this.#endIfEmpty());
      }));
    }
    return record;
  }

  /** Whether the connection has been idle since `record.idleSince`. */
  #isIdle(record, view, now) {
    record.surface = view.tlsOf.get(record.socket) || record.socket;
    if (!record.surface.parser && this.#isSession(record)) {
      // Then only the client's side of the connection is open yet.
      return record.session.destroyed;
    }
    this.#answers.markCurrent(record.surface);
    const { bytesRead } = record.socket;
    const idle = bytesRead === record.bytes && isIdleConnection(record, view);
    if (!idle) {
      record.bytes = bytesRead;
      record.idleSince = now;
    }
    return idle || this.#graceMs === 0 && isIdleConnection(record, view);
  }

  /**
   * An HTTP/2 session is closed at first sight: its GOAWAY says which streams have been taken, a
   * client asks again for what came later (RFC 9113, 8.7), and those taken are finished. The
   * protocol's gentler way, a GOAWAY that refuses nothing before, is barred: once Node has said
   * any GOAWAY and has no streams, it throws away unread what the client still sends.
   */
  #isSession(record) {
    if (!record.session) {
      record.session = sessionOf(record.surface);
      if (record.session && !record.session.closed && !record.session.destroyed) {
        record.session.close();
      }
    }
    return record.session !== null;
  }

  /**
   * Closes what is due in the moment after a look at the network, so that a request that has
   * arrived is seen. A busy loop takes longer; then it waits for a better turn.
   */
  #closeWhenFresh(due, tries) {
    if (due.length === 0 || this.#isOver) {
      return;
    }
    const { nowMs, soon } = this.#system;
    soon(() => {
      const before = nowMs();
      soon(() => {
        if (nowMs() - before > FRESH_MS && tries > 0) {
          this.#closeWhenFresh(due, tries - 1);
        } else {
          this.#close(due.splice(0, CLOSED_AT_ONCE));
          this.#closeWhenFresh(due, MOST_FRESH_TRIES);
        }
      });
    });
  }

  #close(due) {
    const view = this.#view();
    const now = this.#system.nowMs();
    for (const record of due) {
      if (isOpen(record.socket) && this.#isIdle(record, view, now)) {
        this.#closeOne(record, now);
      }
    }
  }

  #closeOne(record, now) {
    const { socket, surface, session } = record;
    if (record.closedAt !== null) {
      if (now - record.closedAt >= Math.max(this.#graceMs, LEAST_LINGER_MS)) {
        socket.destroy();
      }
      return;
    }
    record.closedAt = now;
    if (isShakingHands(surface)) {
      socket.destroy();
    } else if (!session) {
      surface.destroySoon();
    }
  }

  #report() {
    const connections = this.#openSockets().size;
    if (connections !== this.#reported) {
      this.#reported = connections;
      this.#system.say({ act: 'draining', connections });
    }
  }

  #endIfEmpty() {
    if (this.#isOver || this.#openSockets().size > 0 || this.#counted() > 0) {
      return this.#isOver;
    }
    this.#isOver = true;
    this.#system.leave();
    return true;
  }
}

/**
 * HTTP/1: every answer whose header is not out yet shall say `Connection: close`. Of answers to
 * pipelined requests only the last one does, or those behind it would get none.
 */
class Answers {
  #system;
  // The answer on each connection that says it.
  #marked = new WeakMap();
  // How much of the bytes that a parser is working on belongs to requests seen already.
  #positions = new WeakMap();
  // Held for as long as the drain lasts, see `watch`.
  #channels = [];

  constructor(system) {
    this.#system = system;
  }

  subscribe(diagnostics, guarded) {
    const started = diagnostics.channel('http.server.request.start');
    const finished = diagnostics.channel('http.server.response.finish');
    started.subscribe(guarded((message) => this.#onStart(message)));
    finished.subscribe(guarded((message) => this.#onFinish(message)));
    this.#channels = [started, finished];
  }

  /** For an answer that was begun before the drain. */
  markCurrent(socket) {
    const response = socket._httpMessage;
    if (!response || response._header || !response.req) {
      return;
    }
    const last = socket.parser && socket.parser.incoming;
    if (!last || last === response.req) {
      this.#mark(socket, response);
    }
  }

  #onStart({ request, response, socket }) {
    const before = this.#marked.get(socket);
    if (before && !before._header) {
      unmark(before);
    }
    if (!this.#isPipelined(socket.parser, request)) {
      this.#mark(socket, response);
    }
  }

  #mark(socket, response) {
    // The client wants it closed itself.
    if (response.shouldKeepAlive) {
      this.#marked.set(socket, response);
      mark(response);
    }
  }

  #onFinish({ request, response, socket }) {
    // The next in line may have been parsed before the drain.
    this.#system.nextTick(() => this.markCurrent(socket));
    // The answer is out before the request has been read to its end. If the connection was
    // closed now, the system would answer what is still coming with a reset, and that may
    // overtake the answer.
    if (response._last && !request.complete && this.#marked.get(socket) === response) {
      response._last = false;
      request.once('close', this.#system.guarded(() => socket.destroySoon()));
    }
  }

  /** Whether another request follows in the bytes that are being parsed right now. */
  #isPipelined(parser, request) {
    if (!parser || typeof parser.getCurrentBuffer !== 'function') {
      return false;
    }
    const bytes = parser.getCurrentBuffer();
    const from = this.#positions.get(parser);
    if (from === undefined) {
      this.#system.nextTick(() => this.#positions.delete(parser));
    }
    const end = endOfRequest(bytes, from || 0, request.headers);
    this.#positions.set(parser, end);
    return end < bytes.length;
  }
}

/** Where the request that begins at `from` ends; the end of `bytes` if that cannot be told. */
function endOfRequest(bytes, from, headers) {
  const head = bytes.indexOf('\r\n\r\n', from);
  const length = Number(headers['content-length'] || 0);
  if (head === -1 || headers['transfer-encoding'] !== undefined || !(length >= 0)) {
    return bytes.length;
  }
  return head + 4 + length;
}

function mark(response) {
  response.shouldKeepAlive = false;
  // The program may set its own `Connection: keep-alive`, as proxies do, or remove the header.
  Object.defineProperty(response, '_storeHeader', {
    configurable: true,
    writable: true,
    value: function _storeHeader(...args) {
      const result = Object.getPrototypeOf(this)._storeHeader.apply(this, args);
      if (typeof this._header === 'string' && this.statusCode !== 101) {
        this._header = sayingClose(this._header);
        this.shouldKeepAlive = false;
        this._last = true;
      }
      return result;
    },
  });
}

function unmark(response) {
  response.shouldKeepAlive = true;
  delete response._storeHeader;
}

/** The same head of an answer with `Connection: close`. */
function sayingClose(header) {
  const lines = header
    .split('\r\n')
    .filter((line) => !/^(connection: *(keep-alive|close) *$|keep-alive:)/i.test(line));
  // The head ends with an empty line, of which the split makes two empty ends.
  lines.splice(-2, 0, 'Connection: close');
  return lines.join('\r\n');
}

/** Keeps a close() of the program from closing idle connections; they have their grace. */
function keepIdleConnections(server) {
  if (typeof server.closeIdleConnections === 'function') {
    const value = function closeIdleConnections() {};
    Object.defineProperty(server, 'closeIdleConnections', {
      configurable: true,
      writable: true,
      value,
    });
  }
}

/** A socket that was sent to another process has lost its handle without being destroyed. */
function isOpen(socket) {
  return !socket.destroyed && Boolean(socket._handle);
}

/** The accepted connections among the open handles, for versions that do not announce them. */
function socketsByHandle(net) {
  const handles = typeof process._getActiveHandles === 'function' ? process._getActiveHandles() : [];
  return handles.filter((handle) => handle instanceof net.Socket && handle._server);
}

/** The list that Node's HTTP server keeps of its parsers. */
function connectionsListOf(server) {
  for (const symbol of Object.getOwnPropertySymbols(server)) {
    if (symbol.description === 'http.server.connections') {
      const list = server[symbol];
      return list && typeof list.idle === 'function' ? list : null;
    }
  }
  return null;
}

/** The HTTP/2 session on a socket: versions keep it under different names. */
function sessionOf(socket) {
  for (const key of Reflect.ownKeys(socket)) {
    const { value } = Object.getOwnPropertyDescriptor(socket, key);
    if (value && typeof value.goaway === 'function' && typeof value.close === 'function') {
      return value;
    }
  }
  return null;
}

/** Whether nobody waits for anything here. Raw TCP and upgraded connections are never idle. */
function isIdleConnection({ socket, surface }, view) {
  if (isShakingHands(surface)) {
    return true;
  }
  const { parser } = surface;
  if (!parser || surface._httpMessage || surface.writableLength > 0) {
    return false;
  }
  if (parser.incoming && !parser.incoming.complete) {
    return false;
  }
  // The list knows of a request whose head has come in part. It takes for that, too, a
  // connection on which nothing has come yet.
  return surface.bytesRead === 0 || !view.listsOf.has(surface.server) || view.idleParsers.has(parser);
}

function isShakingHands(socket) {
  return socket.encrypted === true && socket.secureConnecting === true;
}

module.exports = { Drain };
