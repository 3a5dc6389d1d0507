// A reload as one writes it with Node's own cluster module: on SIGHUP, seat by seat, fork
// a successor, wait until it listens, and let the predecessor disconnect.
const cluster = require('node:cluster');
const { once } = require('node:events');

const [program, count] = process.argv.slice(2);
cluster.setupPrimary({ exec: program });
const seats = Array.from({ length: Number(count) }, (_, seat) => take(seat));

function take(seat) {
  const worker = cluster.fork();
  worker.once('exit', () => {
    if (seats[seat] === worker) seats[seat] = take(seat);
  });
  return worker;
}

async function roll() {
  for (const [seat, predecessor] of seats.entries()) {
    const successor = take(seat);
    await once(successor, 'listening');
    seats[seat] = successor;
    predecessor.disconnect();
  }
}

process.on('SIGHUP', async () => {
  await roll();
  console.log(JSON.stringify({ event: 'roll_finished' }));
});
