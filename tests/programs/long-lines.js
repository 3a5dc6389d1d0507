'use strict';
// Writes what is hard to print: a line of a megabyte, bytes that are not UTF-8, a
// carriage return, terminal escapes, an empty line, a NUL.

const fs = require('node:fs');

const write = (data) => {
  for (let at = 0; at < data.length; ) {
    try {
      at += fs.writeSync(1, data, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
};
write(Buffer.from(`${'m'.repeat(1 << 20)}\n`));
write(Buffer.from([0x62, 0x61, 0x64, 0x20, 0xff, 0xfe, 0xc3, 0x0a]));
write(Buffer.from('progress 1\rprogress 2\r\n'));
write(Buffer.from('\x1b[31mred\x1b[0m\n'));
write(Buffer.from('\n'));
write(Buffer.from('a\0b\n'));
write(Buffer.from('done\n'));
setInterval(() => {}, 1000);
