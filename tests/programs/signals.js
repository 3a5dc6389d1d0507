'use strict';
// Says which signals it gets.

for (const name of ['SIGUSR1', 'SIGUSR2', 'SIGQUIT', 'SIGWINCH']) {
  process.on(name, () => console.log(name));
}
console.log('listening for signals');
setInterval(() => {}, 1000);
