// An ECMAScript module with an import before it.
import http from 'node:http';

http.createServer((_, response) => response.end(`ok ${globalThis.imported}`)).listen(0, '127.0.0.1');
