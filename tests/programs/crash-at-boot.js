'use strict';
// Dies before it does anything, and says why on stderr.

console.error('reading the settings');
throw new Error('no database today');
