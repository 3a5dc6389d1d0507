'use strict';
// Serves as release.js does, and says that it is ready only once the file RELEASE exists.

const fs = require('node:fs');

require('./release.js');

const timer = setInterval(() => {
  if (!fs.existsSync(process.env.RELEASE)) return;
  clearInterval(timer);
  process.send('ready');
}, 5);
