'use strict';
// The worker that is started first never listens; the spare would.

if (process.env.FORKYARD_SLOT === '0') setInterval(() => {}, 1000);
else require('./release.js');
