'use strict';
// Serves as release.js does in slot 0; in the others it never listens.

if (process.env.FORKYARD_SLOT === '0') require('./release.js');
else setInterval(() => {}, 1000);
