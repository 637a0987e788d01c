// npm run mutants: small deliberate faults, one at a time, each of which a test must notice.
//
//   npm run mutants -- --only lock          those whose id contains a match of /lock/
//   npm run mutants -- --jobs 2             so many at a time (default: half the processors)
//
// Exits with 1 if a mutant survives, no longer fits the code, or proves nothing.

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startServer, variableOf } from '../servers/provider.js';
import { TESTED_KINDS } from '../servers/tested-kinds.js';
import type { Mutant, MutantTests } from './mutant.js';
import { allMutants, stalenessOf } from './registry.js';
import { tryBaseline, tryMutant, type Verdict } from './trial.js';
import { openWorkshop, type Workshop } from './workshop.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    jobs: { type: 'string', default: String(Math.max(1, Math.floor(availableParallelism() / 2))) },
  },
});

const selected = (await allMutants(root)).filter(({ id }) => new RegExp(options.only).test(id));
if (selected.length === 0) throw new Error(`no mutant's id matches ${options.only}`);
await using _servers = await shareServers(selected);
const verdicts = await tryAll(selected);
const count = (ending: Verdict['ending']) => verdicts.filter((one) => one.ending === ending).length;
process.stdout.write(
  `\n${count('killed')} killed, ${count('survived')} survived, ${count('broken')} broken\n`,
);
if (count('killed') !== selected.length) process.exitCode = 1;

/** Servers that all trials use; fault tests start their own in any case. */
async function shareServers(mutants: readonly Mutant[]): Promise<AsyncDisposable> {
  const started: AsyncDisposable[] = [];
  if (mutants.some(({ tests }) => ['contract', 'integration'].includes(tests.project))) {
    for (const kind of TESTED_KINDS) {
      if (process.env[variableOf(kind)] !== undefined) continue;
      const server = await startServer(kind);
      process.env[variableOf(kind)] = server.url;
      started.push(server);
    }
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const server of started) await server[Symbol.asyncDispose]();
    },
  };
}

async function tryAll(mutants: readonly Mutant[]): Promise<Verdict[]> {
  const baselines = new Map<string, Promise<Verdict>>();
  const verdicts: Verdict[] = [];
  const measureTime = (mutant: Mutant) => mutant.tests.project === 'fault';
  // Fault tests measure time: beside others they would fail for the wrong reason.
  await inParallel(
    mutants.filter((mutant) => !measureTime(mutant)),
    Number(options.jobs),
    judge,
  );
  await inParallel(mutants.filter(measureTime), 1, judge);
  return verdicts;

  async function judge(mutant: Mutant, workshop: Workshop): Promise<void> {
    const startedAt = performance.now();
    const key = JSON.stringify(mutant.tests satisfies MutantTests);
    const stale = await stalenessOf(root, mutant);
    let verdict: Verdict = { ending: 'broken', because: stale ?? '' };
    if (stale === undefined) {
      const known = baselines.get(key) ?? tryBaseline(workshop, mutant.tests);
      baselines.set(key, known);
      verdict = await known;
      if (verdict.ending !== 'broken') verdict = await tryMutant(workshop, mutant);
    }
    verdicts.push(verdict);
    printVerdict(mutant, verdict, performance.now() - startedAt);
  }
}

async function inParallel(
  mutants: readonly Mutant[],
  jobs: number,
  judge: (mutant: Mutant, workshop: Workshop) => Promise<void>,
): Promise<void> {
  const queue = [...mutants];
  const workers = Array.from({ length: Math.min(jobs, queue.length) }, async () => {
    await using workshop = await openWorkshop(root);
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      await judge(next, workshop);
    }
  });
  await Promise.all(workers);
}

function printVerdict({ id, why }: Mutant, { ending, because }: Verdict, ms: number): void {
  const time = `${(ms / 1_000).toFixed(1)} s`.padStart(7);
  process.stdout.write(`${ending.padEnd(8)} ${time}  ${id.padEnd(44)} ${because}\n`);
  if (ending !== 'killed') process.stdout.write(`${' '.repeat(18)}${why}\n`);
}
