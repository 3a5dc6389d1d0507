'use strict';
// A server whose worker has a child that lives on.

require('node:child_process').spawn('sleep', ['1000'], { stdio: 'ignore' });
require('./plain.js');
