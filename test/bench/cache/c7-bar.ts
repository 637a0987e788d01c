// C7: what goes wrong with caches, played with each of npm's on the same Redis.

import { isDeepStrictEqual } from 'node:util';
import { startRedis } from '../../servers/provider.js';
import { sleep, within } from '../lock/measure.js';
import { ms, type Table } from '../lock/report.js';
import { type Contender, type ContenderNode, contenders } from './contenders.js';
import { type Bench, type BenchContext, count } from './context.js';
import { installPeers } from './peers.js';

/** Nobody is waited for any longer. */
const PATIENCE_MS = 5_000;

type Server = Awaited<ReturnType<typeof startRedis>>;

/** One row of a table: what came of a contender. */
interface Play {
  readonly server: Server;
  readonly contender: Contender;
  readonly context: BenchContext;
  /** Opens a node; it is closed with the scenario. */
  open(): Promise<ContenderNode>;
}

interface Scenario {
  readonly title: string;
  readonly method: string;
  readonly columns: readonly string[];
  play(play: Play): Promise<readonly string[]>;
}

/** A reader loads, a writer commits and deletes, and only then the reader stores. */
const staleSet: Scenario = {
  title: 'C7: old values after an acknowledged delete',
  method:
    'A reader has loaded the old value, a writer commits a new one and deletes the key, then the reader goes on. What the next read answers, on the same node and on another.',
  columns: ['old on one node', 'old on two nodes'],
  async play({ open, context }) {
    const [one, other] = [await open(), await open()];
    const rounds = count(context, 40, 3);
    const old = [0, 0];
    for (const [index, writer] of [one, other].entries()) {
      for (let round = 0; round < rounds; round += 1) {
        const key = `stale:${index}:${round}`;
        let source = 'old';
        const read = async (): Promise<string> => {
          const value = source;
          await sleep(30);
          return value;
        };
        const reading = one.getOrLoad(key, read);
        await sleep(10);
        source = 'new';
        await writer.delete(key);
        await reading;
        await sleep(5);
        const answers = await Promise.all([one, writer].map((node) => node.getOrLoad(key, read)));
        if (answers.includes('old')) old[index] = (old[index] ?? 0) + 1;
      }
    }
    return old.map((times) => `${times} of ${rounds}`);
  },
};

const stampede: Scenario = {
  title: '1,000 cold reads at once',
  method: 'Of one key, 250 on each of four nodes; then the same with a loader that fails.',
  columns: ['loads', 'loads that fail', 'callers told of the error'],
  async play({ open }) {
    const nodes = [await open(), await open(), await open(), await open()];
    let loads = 0;
    const at = (key: string, work: () => unknown) =>
      Array.from({ length: 1_000 }, (_, i) =>
        nodes[i % nodes.length]?.getOrLoad(key, async () => {
          loads += 1;
          await sleep(50);
          return work();
        }),
      );
    await within(PATIENCE_MS, Promise.all(at('cold', () => 'value')));
    const good = loads;
    loads = 0;
    const failing = at('broken', () => Promise.reject(new Error('the source is down')));
    const ended = await within(PATIENCE_MS, Promise.allSettled(failing));
    const told = ended?.filter(({ status }) => status === 'rejected').length;
    return [String(good), String(loads), told === undefined ? 'no end' : String(told)];
  },
};

const VALUES: Readonly<Record<string, unknown>> = {
  Date: new Date(0),
  BigInt: 2n ** 70n,
  Map: new Map([['a', 1]]),
  undefined: { a: undefined },
  NaN: Number.NaN,
};

const values: Scenario = {
  title: 'Values by way of Redis',
  method:
    'Stored by one node and read by another: `exact`, `changed` or `not stored` without a word, or `refused` with an error.',
  columns: Object.keys(VALUES),
  async play({ open }) {
    const found: string[] = [];
    for (const [name, value] of Object.entries(VALUES)) {
      const [writer, reader] = [await open(), await open()];
      const work = async (): Promise<string> => {
        await writer.getOrLoad(name, async () => value);
        await sleep(20);
        const read = await reader.getOrLoad(name, async () => 'loaded again');
        if (read === 'loaded again') return 'not stored';
        return isDeepStrictEqual(read, value) ? 'exact' : 'changed';
      };
      found.push(
        (await within(
          PATIENCE_MS,
          work().catch(() => 'refused'),
        )) ?? 'no end',
      );
    }
    return found;
  },
};

const isolation: Scenario = {
  title: 'An object that its reader changes',
  method: 'Read again by the same node.',
  columns: ['the next reader sees'],
  async play({ open }) {
    const node = await open();
    const read = () => node.getOrLoad('product', async () => ({ price: 80 }));
    await read();
    const first = (await read()) as { price: number };
    try {
      first.price = 0;
    } catch {
      // Frozen: the change is refused.
    }
    return [((await read()) as { price: number }).price === 80 ? 'what was stored' : 'the change'];
  },
};

const frozen: Scenario = {
  title: 'Redis stands still',
  method:
    'SIGSTOP, then a cold read whose loader answers at once. Waited for is at most 5 s; tricord with its default time-outs.',
  columns: ['a cold read is answered after'],
  async play({ open, server }) {
    const node = await open();
    await node.getOrLoad('warm', async () => 'value');
    await server.pause();
    try {
      const sinceMs = performance.now();
      const reading = node.getOrLoad('cold', async () => 'value').catch(() => 'failed');
      const answer = await within(PATIENCE_MS, reading);
      return [answer === undefined ? 'not in 5 s' : ms(performance.now() - sinceMs)];
    } finally {
      await server.resume();
    }
  },
};

const SCENARIOS = [staleSet, stampede, values, isolation, frozen];

async function tableOf(
  { title, method, columns, play }: Scenario,
  all: readonly Contender[],
  server: Server,
  context: BenchContext,
): Promise<Table> {
  const rows: string[][] = [];
  for (const [index, contender] of all.entries()) {
    const nodes: ContenderNode[] = [];
    const open = async (): Promise<ContenderNode> => {
      const node = await contender.open(server.url, `${title.slice(0, 4)}-${index}`);
      nodes.push(node);
      return node;
    };
    const cells = await play({ server, contender, context, open });
    rows.push([contender.name, ...cells]);
    for (const node of nodes)
      await within(
        1_000,
        node.close().catch(() => {}),
      );
  }
  return { title, method, columns: ['cache', ...columns], rows };
}

export const bench: Bench = {
  id: 'C7',
  async run(context) {
    await using peers = await installPeers();
    await using server = await startRedis();
    const all = contenders(peers.folder);
    const tables: Table[] = [];
    for (const scenario of SCENARIOS) {
      tables.push(await tableOf(scenario, all, server, context));
    }
    const [first, ...others] = tables;
    if (first === undefined) return [];
    return [{ ...first, notes: [`Versions: ${peers.versions}.`] }, ...others];
  },
};
