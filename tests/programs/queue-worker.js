'use strict';
// A worker that never listens: it takes jobs from somewhere and does them.

let jobs = 0;
console.log('waiting for jobs');
setInterval(() => {
  jobs += 1;
}, 10);
