// The same on ZooKeeper, beside Apache Curator: one process on each side, one server for both.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startZookeeper } from '../../servers/provider.js';
import { type Bench, type BenchContext, count } from './context.js';
import { type Curator, startCurator } from './curator.js';
import { interleaved, median, spread, type Variant } from './measure.js';
import { ms, percent, rate, ratio, type Table } from './report.js';
import type { Question } from './zookeeper-process.js';

const PROGRAM = fileURLToPath(new URL('./zookeeper-process.ts', import.meta.url));
const TASKS = 16;
const BARE = 'npm zookeeper, bare: create and list in one go, delete';
const BELOW = 'the same by its native binding';
const BARE_NOTE: string =
  'The last row is the floor of any lock on this client: the three requests that a pair takes, and nothing else. The client’s own methods write their arguments out for a log that is off; tricord calls the binding below them. What is between the floor and Curator is between the clients.';
/** So many pairs, or a tenth as many hand-offs, before anything is measured: Node and Java compile what runs often. */
const WARM_UP = 3_000;

interface Side {
  pairs(count: number, resource: string): Promise<number>;
  /** The same by the client's own calls. */
  bare?(count: number, resource: string): Promise<number>;
  /** The same by the binding below them. */
  below?(count: number, resource: string): Promise<number>;
  tasks(tasks: number, count: number, resource: string): Promise<number>;
  handOff(count: number, resource: string): Promise<number>;
  close(): void;
}

async function startTricord(servers: string): Promise<Side> {
  const child: ChildProcess = fork(PROGRAM, [servers], { execArgv: ['--import', 'tsx'] });
  const answer = (): Promise<unknown> => new Promise((resolve) => child.once('message', resolve));
  await answer();
  const ask = async (question: Question): Promise<number> => {
    const answered = answer();
    child.send(question);
    return Number(await answered);
  };
  return {
    pairs: (count, resource) => ask({ verb: 'pairs', count, tasks: 1, resource }),
    bare: (count, resource) => ask({ verb: 'bare', count, tasks: 1, resource }),
    below: (count, resource) => ask({ verb: 'below', count, tasks: 1, resource }),
    tasks: (tasks, count, resource) => ask({ verb: 'tasks', count, tasks, resource }),
    handOff: (count, resource) => ask({ verb: 'handoff', count, tasks: 1, resource }),
    close: () => void child.kill('SIGKILL'),
  };
}

async function beside(context: BenchContext): Promise<readonly Table[]> {
  await using server = await startZookeeper({ tickTimeMs: 2_000 });
  const tricord = await startTricord(server.url);
  const curator: Curator | undefined = await startCurator(server.address);
  try {
    const sides = [['tricord', tricord] as const];
    if (curator !== undefined) sides.push(['Apache Curator', curator] as never);
    return await tablesOf(context, sides, server.version);
  } finally {
    tricord.close();
    curator?.close();
  }
}

async function tablesOf(
  context: BenchContext,
  sides: readonly (readonly [string, Side])[],
  version: string,
): Promise<readonly Table[]> {
  const pairs = count(context, 100, 20);
  const many = count(context, 600, 200);
  const handOffs = count(context, 20, 3);
  const rounds = count(context, 15, 1);
  const variantsOf = (play: (side: Side, name: string) => Promise<number>): Variant[] =>
    sides.map(([name, side]) => [name, () => play(side, name)]);
  const path = (name: string, what: string): string =>
    `/bench/${name.replaceAll(/\W/g, '')}-${what}`;
  const aloneOf = (times: number): Variant[] => [
    ...variantsOf((side, name) => side.pairs(times, path(name, 'alone'))),
    ...sides.flatMap(([, { bare, below }]): Variant[] => [
      ...(bare === undefined ? [] : [[BARE, () => bare(times, '/bench-bare')] as const]),
      ...(below === undefined ? [] : [[BELOW, () => below(times, '/bench-below')] as const]),
    ]),
  ];
  await interleaved(0, aloneOf(count(context, WARM_UP, pairs)));
  const alone = await interleaved(rounds, aloneOf(pairs));
  const together = await interleaved(
    Math.ceil(rounds / 3),
    variantsOf((side, name) => side.tasks(TASKS, many, path(name, 'together'))),
  );
  await interleaved(
    0,
    variantsOf((side, name) =>
      side.handOff(count(context, WARM_UP / 10, handOffs), path(name, 'handed')),
    ),
  );
  const handed = await interleaved(
    Math.ceil(rounds / 3),
    variantsOf((side, name) => side.handOff(handOffs, path(name, 'handed'))),
  );
  const note =
    sides.length === 1
      ? ['Apache Curator (libcurator-recipes-java) or Java was not there to compare with.']
      : [
          'Apache Curator 5.4.0, InterProcessMutex, in a JVM of its own. Both sides were warmed up.',
        ];
  return [
    ratesOf(`B1: uncontended acquire and release, ZooKeeper ${version}`, alone, pairs, [
      ...note,
      BARE_NOTE,
    ]),
    ratesOf(`${TASKS} tasks of one node on one resource, ZooKeeper`, together, many, note),
    {
      title: 'B2: hand-off to one waiter, ZooKeeper',
      method: `Two sessions in one process; medians of ${handOffs} hand-offs a round.`,
      columns: ['lock', 'p50', 'spread'],
      rows: Array.from(handed, ([name, took]) => [name, ms(median(took)), percent(spread(took))]),
      notes: note,
    },
  ];
}

function ratesOf(
  title: string,
  results: ReadonlyMap<string, readonly number[]>,
  pairs: number,
  notes: readonly string[],
): Table {
  const curator = median(results.get('Apache Curator') ?? []);
  return {
    title,
    method: `Rounds of ${pairs} pairs, one process on each side, interleaved on one server.`,
    columns: ['lock', 'p50 of a pair', 'pairs', 'of Curator', 'spread'],
    rows: Array.from(results, ([name, took]) => [
      name,
      ms(median(took) / pairs),
      rate((pairs / median(took)) * 1_000),
      ratio(curator / median(took)),
      percent(spread(took)),
    ]),
    notes,
  };
}

export const bench: Bench = { id: 'zookeeper', run: beside };
