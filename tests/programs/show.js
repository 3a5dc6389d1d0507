'use strict';
// Says on one line how it was started.

console.log(
  JSON.stringify({
    argv: process.argv.slice(2),
    execArgv: process.execArgv,
    execPath: process.execPath,
    version: process.version,
    cwd: process.cwd(),
    main: process.argv[1],
    filename: require.main.filename,
    env: process.env,
    isWorker: require('node:cluster').isWorker,
  }),
);
setInterval(() => {}, 1000);
