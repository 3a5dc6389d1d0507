// Clients that go on until they are told to stop, and count every answer that is not the right
// one, every reset and every refusal.
'use strict';

const http = require('http');
const https = require('https');
const http2 = require('http2');
const net = require('net');
const { EventEmitter, once } = require('events');
const { within } = require('./cluster.cjs');

const REQUEST_MS = 20_000;
// Between two turns of a client, so that the workers have processors to start on.
const PAUSE_MS = 2;

class Load {
  answers = 0;
  failures = [];
  #stopped = false;
  #clients = [];
  #events = new EventEmitter();

  /** Runs `count` clients, each of which does `turn` after `turn`. */
  run(count, turn, finish = () => {}) {
    for (let i = 0; i < count; i++) {
      this.#clients.push(this.#client(turn, finish));
    }
    return this;
  }

  async #client(turn, finish) {
    const own = {};
    while (!this.#stopped) {
      try {
        await turn(own);
        this.answers++;
        this.#events.emit('answer');
      } catch (error) {
        this.failures.push(error.code || error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    await finish(own);
  }

  /** Returns after the next right answer. */
  answer() {
    return within(once(this.#events, 'answer'), 'an answer');
  }

  async stop() {
    this.#stopped = true;
    await Promise.all(this.#clients);
    return this;
  }
}

/** One HTTP/1 request; `target` is what http.request takes. */
function ask(target, { body, ...options } = {}) {
  const { request } = target.tls || options.tls ? https : http;
  return new Promise((resolve, reject) => {
    const outgoing = request({ rejectUnauthorized: false, ...target, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ text, headers: response.headers }));
      response.on('error', reject);
    });
    outgoing.setTimeout(REQUEST_MS, () => outgoing.destroy(new Error('time-out')));
    outgoing.on('error', reject);
    if (typeof body === 'function') {
      body(outgoing);
    } else {
      outgoing.end(body);
    }
  });
}

function expect(condition, what) {
  if (!condition) {
    throw new Error(`wrong answer: ${what}`);
  }
}

/** GET after GET, on kept connections or not. */
function getting(target, { keepAlive = true, path = '/', expected = /^ok \d+$/ } = {}) {
  const module = target.tls ? https : http;
  return async (own) => {
    own.agent ??= new module.Agent({ keepAlive });
    const { text } = await ask(target, { path, agent: own.agent });
    expect(expected.test(text), text);
  };
}

/** POSTs of 300 kB, in two parts. */
function uploading(target, path) {
  const part = Buffer.alloc(150_000, 'x');
  return async (own) => {
    own.agent ??= new http.Agent({ keepAlive: true });
    const body = (outgoing) => {
      outgoing.write(part);
      setTimeout(() => outgoing.end(part), 5);
    };
    const { text } = await ask(target, { path, method: 'POST', agent: own.agent, body });
    expect(text === (path === '/early' ? 'early' : 'got 300000'), text);
  };
}

/**
 * Streams on one session, until it says GOAWAY. A stream that Node's client had not yet written
 * when the GOAWAY came fails there with REFUSED_STREAM: by RFC 9113, section 8.7, the server has
 * not seen it, and it is asked again on the next session, as browsers and gRPC do.
 */
function streaming(authority, path = '/') {
  return async (own) => {
    if (!own.session || own.session.closed || own.session.destroyed) {
      own.session = http2.connect(authority, { rejectUnauthorized: false });
      own.session.on('error', () => {});
      await once(own.session, 'connect');
    }
    const stream = own.session.request({ ':path': path });
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    try {
      await once(stream, 'end');
    } catch (error) {
      if (stream.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM && own.session.closed) {
        return streaming(authority, path)(own);
      }
      error.code += ` ${stream.rstCode}`;
      throw error;
    }
    expect(/^ok \d+$/.test(text), JSON.stringify(text));
  };
}

const closeSession = (own) => own.session?.close();

/** Three requests in one write; all three answers have to come. */
function pipelining(target) {
  const burst = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3);
  return async (own) => {
    if (!own.socket || own.told || own.socket.destroyed || own.socket.readableEnded) {
      own.socket?.destroy();
      // A reset between two turns shows in the next one.
      own.socket = net.connect(target).on('error', () => {});
      own.told = false;
      await once(own.socket, 'connect');
    }
    const text = await answersTo(own.socket, burst, 3);
    own.told = /^connection: close/im.test(text);
  };
}

function answersTo(socket, requests, count) {
  return new Promise((resolve, reject) => {
    let text = '';
    const settle = (error) => {
      socket.off('data', onData).off('error', settle).off('end', onEnd);
      error ? reject(error) : resolve(text);
    };
    const onEnd = () => settle(new Error(`closed with ${answersIn(text)} of ${count} answers`));
    const onData = (chunk) => {
      text += chunk;
      if (answersIn(text) === count) {
        settle();
      }
    };
    socket.on('data', onData).on('error', settle).on('end', onEnd);
    socket.write(requests);
  });
}

const answersIn = (text) => (text.match(/\r\n\r\n(ok \d+|[0-9a-f]+\r\nok)/g) || []).length;

module.exports = { Load, answersTo, ask, closeSession, expect, getting, pipelining, streaming, uploading };
