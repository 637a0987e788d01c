// C6: several processes on one Redis: a stampede, and how soon an invalidation is seen elsewhere.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';
import { redisCache } from 'tricord/redis';
import { startRedis } from '../../servers/provider.js';
import { median, quantile } from '../lock/measure.js';
import { ms, type Table } from '../lock/report.js';
import { type Bench, type BenchContext, count } from './context.js';
import type { FromNode, ToNode } from './node-process.js';

const PROGRAM = fileURLToPath(new URL('./node-process.ts', import.meta.url));
const NODES = 4;
const CALLERS = 1_000;

interface Node extends Disposable {
  ask(message: ToNode): Promise<FromNode>;
  /** The next thing that it tells. */
  next(): Promise<FromNode>;
}

async function startNode(url: string, name: string): Promise<Node> {
  const execArgv = ['--import', 'tsx'];
  const child = fork(PROGRAM, [url, name], { execArgv, serialization: 'advanced' });
  const next = async (): Promise<FromNode> => {
    const ended = new AbortController();
    const { signal } = ended;
    const gone = once(child, 'exit', { signal }).then(() => {
      throw new Error('a node of the bench ended');
    });
    gone.catch(() => {});
    try {
      const [message] = await Promise.race([once(child, 'message', { signal }), gone]);
      return message as FromNode;
    } finally {
      ended.abort();
    }
  };
  await next();
  return {
    ask(message) {
      const answer = next();
      child.send(message);
      return answer;
    },
    next,
    [Symbol.dispose]: () => child.disconnect(),
  };
}

async function stampedes(context: BenchContext, url: string): Promise<Table> {
  const nodes = await Promise.all(Array.from({ length: NODES }, () => startNode(url, 'c6')));
  const [loads, took]: [number[], number[]] = [[], []];
  for (let round = 0; round < count(context, 50, 3); round += 1) {
    const message = { what: 'stampede', key: `cold:${round}`, callers: CALLERS / NODES } as const;
    const answers = await Promise.all(nodes.map((node) => node.ask(message)));
    loads.push(answers.reduce((sum, { loadCount = 0 }) => sum + loadCount, 0));
    took.push(Math.max(...answers.map(({ tookMs = Number.NaN }) => tookMs)));
  }
  for (const node of nodes) node[Symbol.dispose]();
  return {
    title: `C6: a stampede of ${CALLERS.toLocaleString('en')} on ${NODES} processes`,
    method: `${CALLERS / NODES} calls of getOrLoad in each of ${NODES} processes at once, for a key that nobody has, in memory before Redis; the loader takes 20 ms. ${loads.length} rounds.`,
    columns: ['loads a stampede, most', 'on average', 'until all are answered, p50', 'p99'],
    rows: [
      [
        String(Math.max(...loads)),
        (loads.reduce((sum, each) => sum + each, 0) / loads.length).toFixed(2),
        ms(median(took)),
        ms(quantile(took, 0.99)),
      ],
    ],
  };
}

async function visibility(context: BenchContext, url: string): Promise<Table> {
  const client = new Redis(url);
  const tiers = [memoryCache({ entriesMax: 10_000 }), redisCache({ client })];
  const cache = createCache<number>({ name: 'c6-seen', tiers, ttlMs: 600_000 });
  using node = await startNode(url, 'c6-seen');
  const rows: string[][] = [];
  for (const change of ['delete', 'set'] as const) {
    const [fromCall, fromAnswer]: [number[], number[]] = [[], []];
    let unseen = 0;
    for (let round = 0; round < count(context, 500, 5); round += 1) {
      const key = `${change}:${round}`;
      await cache.set(key, round);
      await node.ask({ what: 'watch', key, from: round, until: -1 });
      const seen = node.next();
      const calledAtNs = process.hrtime.bigint();
      await (change === 'set' ? cache.set(key, -1) : cache.delete(key));
      const answeredAtNs = process.hrtime.bigint();
      const { seenAtNs } = await seen;
      if (seenAtNs === undefined) {
        unseen += 1;
        continue;
      }
      fromCall.push(Number(seenAtNs - calledAtNs) / 1e6);
      fromAnswer.push(Math.max(0, Number(seenAtNs - answeredAtNs) / 1e6));
    }
    const [call, answer] = [fromCall, fromAnswer].map((values) =>
      [0.5, 0.99].map((share) => ms(quantile(values, share))),
    );
    rows.push([change, ...(call ?? []), ...(answer ?? []), String(unseen)]);
  }
  await cache.close();
  client.disconnect();
  return {
    title: 'From an invalidation to its being seen in the memory of another process',
    method:
      'Two processes, memory before Redis in each. One reads a key from its memory without a pause, the other changes it. From the call, and from its acknowledgement (0 when it was seen before).',
    columns: ['change', 'call p50', 'p99', 'acknowledged p50', 'p99', 'never seen'],
    rows,
  };
}

export const bench: Bench = {
  id: 'C6',
  async run(context) {
    await using redis = await startRedis();
    return [await stampedes(context, redis.url), await visibility(context, redis.url)];
  },
};
