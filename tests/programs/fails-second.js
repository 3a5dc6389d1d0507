'use strict';
// Of all workers started with the same ONCE, the first serves as release.js does; the
// others fail at boot.

const fs = require('node:fs');

try {
  fs.closeSync(fs.openSync(process.env.ONCE, 'wx'));
} catch {
  console.error('there is one already');
  process.exit(1);
}
require('./release.js');
