'use strict';
// Leaves an orphan behind every few milliseconds: a process whose parent is gone. As
// PID 1 the primary inherits them and has to reap them. Says how many it has left.

const { execFileSync } = require('node:child_process');

for (let i = 0; i < 5; i += 1) execFileSync('sh', ['-c', 'sleep 0.01 & exit 0'], { stdio: 'ignore' });
console.log('five orphans');
setInterval(() => {}, 1000);
