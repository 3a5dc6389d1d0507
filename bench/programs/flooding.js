// Writes lines at a rate: `/flood` begins, and is answered at the end with how many lines there
// were and how many milliseconds that took. A line's length is that of an ordinary access log.
const http = require('node:http');

const PER_SECOND = Number(process.env.LINES_PER_SECOND);
const SECONDS = Number(process.env.SECONDS);
const TOTAL = PER_SECOND * SECONDS;

function flood(finished) {
  const began = performance.now();
  let written = 0;
  const timer = setInterval(() => {
    const due = Math.min(TOTAL, Math.floor(((performance.now() - began) * PER_SECOND) / 1000));
    for (; written < due; written += 1) {
      console.log(`flood ${String(written).padStart(8, '0')} GET /articles/12 200 1532 3 ms`);
    }
    if (written === TOTAL) {
      clearInterval(timer);
      finished(performance.now() - began);
    }
  }, 2);
}

http
  .createServer((request, response) => {
    if (request.url !== '/flood') {
      response.end(`${process.pid} ${request.url}\n`);
      return;
    }
    flood((took) => response.end(`${process.pid} ${Math.round(took)}\n`));
  })
  .listen(process.env.PORT);
