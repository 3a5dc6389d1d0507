// Asks `waiting.js` for so many requests, each on a connection of its own, at random moments of
// which so many a second come on average, and prints how long the answers took.
//
//     node asking.js PORT REQUESTS_A_SECOND MEAN_MILLISECONDS REQUESTS
//
// What a request costs is exponentially distributed. The clients do not wait for each other.
const http = require('http');

const [port, rate, mean, requests] = process.argv.slice(2).map(Number);
const took = [];
const answeredBy = {};
let asked = 0;
let failed = 0;
let due = performance.now();

const exponential = () => -Math.log(1 - Math.random());

function ask() {
  const began = performance.now();
  const path = `/${(mean * exponential()).toFixed(3)}`;
  http
    .get({ port, path, agent: false }, (response) => {
      let worker = '';
      response.on('data', (part) => (worker += part));
      response.on('end', () => {
        took.push(performance.now() - began);
        answeredBy[worker] = (answeredBy[worker] ?? 0) + 1;
        report();
      });
    })
    .on('error', () => {
      failed += 1;
      report();
    });
}

function report() {
  if (took.length + failed < requests) return;
  took.sort((a, b) => a - b);
  const quantile = (share) => `${took[Math.floor(share * took.length)].toFixed(1)} ms`;
  console.log({
    p50: quantile(0.5),
    p90: quantile(0.9),
    p99: quantile(0.99),
    failed,
    perWorker: Object.values(answeredBy),
  });
}

// Timers are late at times; what was due in the meantime is asked at once.
function next() {
  for (; asked < requests && due <= performance.now(); asked += 1) {
    ask();
    due += (1000 / rate) * exponential();
  }
  if (asked < requests) setTimeout(next, due - performance.now());
}
next();
