'use strict';
// Starts two children in its own process group and then writes many short lines, which fit
// into its pipe whether or not anybody reads them.

const { spawn } = require('node:child_process');
const fs = require('node:fs');

for (let i = 0; i < 2; i += 1) spawn('sleep', ['1000'], { stdio: 'ignore' });
fs.writeSync(1, Array.from({ length: 10_000 }, (_, i) => `${i}\n`).join(''));
setInterval(() => {}, 1000);
