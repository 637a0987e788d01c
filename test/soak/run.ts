// npm run soak -- <what> [--times N | --minutes N] [--seed N] [what the soak itself takes]
//
//   npm run soak -- demo --drivers redis --kill --times 10
//   npm run soak -- lock --drivers zookeeper --minutes 10 --seed 42
//   npm run soak -- check ‹the file of a history›
//
// Runs something again and again, each round with the next seed. A violation prints the round's
// output, its seed and the command that repeats it; the exit code is then 1.

import { randomInt } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import type { Round, Soak } from './soak.js';

const MINUTE_MS = 60_000;
const SEED_MAX = 2 ** 31;

const { what, times, minutes, seed, args } = readCommand(process.argv.slice(2));
const soak = await namedSoak(what);
if (soak === undefined) {
  const known = (await soakNames()).join(', ');
  process.stderr.write(`npm run soak -- <what>: ${what ?? 'nothing'} is not one of: ${known}\n`);
  process.exit(2);
}
const violations = await repeat(soak);
// Ends here and now: Node's own cleaning up can wait for ever for the pipe of a child that was killed.
process.exit(violations === 0 ? 0 : 1);

async function repeat(soak: Soak): Promise<number> {
  const startedAt = performance.now();
  const remainingMs = () => minutes * MINUTE_MS - (performance.now() - startedAt);
  let violations = 0;
  let rounds = 0;
  for (; rounds < times && remainingMs() > 0; rounds += 1) {
    const round = { seed: (seed + rounds) % SEED_MAX, args, remainingMs: remainingMs() };
    if (!(await runRound(soak, round, rounds + 1))) violations += 1;
  }
  const took = `${((performance.now() - startedAt) / 1_000).toFixed(0)} s`;
  process.stdout.write(`${rounds - violations} clean, ${violations} violated, in ${took}\n`);
  return violations;
}

async function runRound(soak: Soak, round: Round, number: number): Promise<boolean> {
  const startedAt = performance.now();
  const { isClean, summary, output = '' } = await soak.run(round);
  const took = `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`;
  const verdict = isClean ? 'clean' : 'VIOLATED';
  if (!isClean) process.stdout.write(`${output}\n`);
  process.stdout.write(`${number}  seed ${round.seed}  ${verdict}  ${took}  ${summary}\n`);
  if (!isClean) process.stdout.write(`repeat it with: ${soak.command(round)}\n`);
  return isClean;
}

/** Takes the runner's own options out of the command line and leaves the rest to the soak. */
function readCommand(command: readonly string[]) {
  const { tokens } = parseArgs({
    args: [...command],
    options: { times: { type: 'string' }, minutes: { type: 'string' }, seed: { type: 'string' } },
    strict: false,
    tokens: true,
  });
  const own: Record<string, string | undefined> = {};
  const taken = new Set<number>();
  for (const token of tokens) {
    if (token.kind === 'positional' && token.index === 0) taken.add(0);
    if (token.kind !== 'option' || !['times', 'minutes', 'seed'].includes(token.name)) continue;
    own[token.name] = token.value;
    taken.add(token.index);
    if (token.inlineValue === false) taken.add(token.index + 1);
  }
  const isTimed = own.minutes !== undefined;
  return {
    what: taken.has(0) ? command[0] : undefined,
    times: count('times', own.times ?? (isTimed ? 'Infinity' : '1')),
    minutes: count('minutes', own.minutes ?? 'Infinity'),
    seed: count('seed', own.seed ?? String(randomInt(SEED_MAX)), 0),
    args: command.filter((_, index) => !taken.has(index)),
  };
}

function count(name: string, text: string, least = Number.MIN_VALUE): number {
  const value = Number(text);
  if (value >= least) return value;
  process.stderr.write(`--${name} ${text} is not a number that can be used\n`);
  process.exit(2);
}

/** The soak that a file of this folder has the name of; the others are not loaded. */
async function namedSoak(name: string | undefined): Promise<Soak | undefined> {
  if (name === undefined || !(await soakNames()).includes(name)) return undefined;
  const module: { readonly soak?: Soak } = await import(
    new URL(`${name}.ts`, import.meta.url).href
  );
  return module.soak;
}

/** Other files with a hyphen are parts of soaks, and the programs that these start. */
async function soakNames(): Promise<string[]> {
  const files = await readdir(new URL('.', import.meta.url));
  const names = files.flatMap((file) => /^(\w+|three-phase)\.ts$/.exec(file)?.[1] ?? []);
  return names.filter((name) => !['run', 'soak'].includes(name)).sort();
}
