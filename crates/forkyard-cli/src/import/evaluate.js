'use strict';
// Prints what a settings file of PM2 exports as JSON, between two marks, so that whatever the file
// itself prints does no harm. What JSON has not is an object with KEY as its only key.
//   node -e evaluate.js FILE module|text MARK KEY

const [file, kind, mark, key] = process.argv.slice(1);
const fs = require('node:fs');

function plain(_key, value) {
  const type = Object.prototype.toString.call(value).slice(8, -1);
  switch (type) {
    case 'Function':
    case 'AsyncFunction':
    case 'GeneratorFunction':
      return { [key]: 'a function' };
    case 'RegExp':
      return { [key]: `the pattern ${value}` };
    case 'BigInt':
      return Number(value);
    case 'Symbol':
      return { [key]: 'a symbol' };
    default:
      return value;
  }
}

async function exported() {
  if (kind === 'text') {
    const text = fs.readFileSync(file, 'utf8');
    return require('node:vm').runInNewContext(`(${text})`, {}, { filename: file });
  }
  const module = await import(require('node:url').pathToFileURL(file));
  const value = module.default ?? { ...module };
  return value?.__esModule ? value.default ?? value : value;
}

function print(text) {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) {
    try {
      written += fs.writeSync(1, bytes, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

exported().then(
  (value) => {
    print(`${mark}${JSON.stringify(value, plain) ?? 'null'}${mark}`);
    // Whatever the file has begun is of no interest.
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
