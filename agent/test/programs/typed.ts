// TypeScript, for the versions of Node that take it.
import { createServer, type ServerResponse } from 'node:http';

const answer = (response: ServerResponse): void => void response.end('ok typed');
createServer((_, response) => answer(response)).listen(0, '127.0.0.1');
