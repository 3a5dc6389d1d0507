'use strict';
// Ends at once with the code given as its argument.

process.exit(Number(process.argv[2]));
