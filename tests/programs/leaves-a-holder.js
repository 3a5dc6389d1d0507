'use strict';
// Leaves a process behind that has a session of its own and holds stdout and stderr open.

const { spawn } = require('node:child_process');
const fs = require('node:fs');

const holder = spawn('sleep', ['1000'], { detached: true, stdio: 'inherit' });
fs.writeSync(1, `${JSON.stringify({ holder: holder.pid })}\n`);
process.exit(0);
