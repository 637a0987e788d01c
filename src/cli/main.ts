#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { runProgram } from './program.js';

const { version } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string };

/** A module of the user's may keep connections open: the answer does not wait for them. */
const leave = (code: number): void => {
  process.stderr.write('', () => process.stdout.write('', () => process.exit(code)));
};

runProgram(
  process.argv.slice(2),
  {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  },
  version,
).then(leave, (error: unknown) => {
  process.stderr.write(`tricord: ${String(error)}\n`);
  leave(1);
});
