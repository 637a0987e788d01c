// B7: what it costs that the reply to an acquire is lost on its way.

import { type Bench, type BenchContext, count } from './context.js';
import { median, within } from './measure.js';
import { type Contender, openClient } from './peers.js';
import { ms, type Table } from './report.js';

const TTL_MS = 3_000;
const PATIENCE_MS = 15_000;
const NAMES: readonly Contender[] = [
  'tricord',
  'redis-semaphore',
  'redlock',
  '@sesamecare-oss/redlock',
];

async function loseReply({ redis, peers }: BenchContext, name: Contender, trial: number) {
  await using proxy = await redis.proxy();
  const client = openClient(name, proxy.url, peers);
  const resource = `b7-${trial}-${name.replaceAll(/\W/g, '')}`;
  // Connected, and its scripts are loaded.
  await (await client.acquire(`${resource}-warm`, TTL_MS))();
  const plainMs = performance.now();
  await (await client.acquire(`${resource}-plain`, TTL_MS))();
  const plainTookMs = performance.now() - plainMs;
  const lost = proxy.cutAfterForward(resource);
  const askedMs = performance.now();
  const release = await within(PATIENCE_MS, client.acquire(resource, TTL_MS));
  const tookMs = performance.now() - askedMs;
  await within(1_000, lost);
  await release?.();
  await client.close();
  return tookMs - plainTookMs;
}

async function lostReply(context: BenchContext): Promise<Table> {
  const rows: string[][] = [];
  for (const name of NAMES) {
    const trials = count(context, name === 'tricord' ? 20 : 3, 1);
    const penalties: number[] = [];
    for (let trial = 0; trial < trials; trial += 1) {
      penalties.push(await loseReply(context, name, trial));
    }
    rows.push([name, ms(median(penalties)), ms(Math.max(...penalties)), String(trials)]);
  }
  return {
    title: 'B7: the reply to an acquire is lost, Redis',
    method: `A proxy lets the request pass, waits for the answer and cuts the connection; ioredis reconnects after 50 ms and sends it again. The time of a plain pair is taken off. TTL ${TTL_MS / 1_000} s, at defaults.`,
    columns: ['lock', 'penalty, median', 'worst', 'trials'],
    rows,
    notes: [
      'The 50 ms of the reconnect are the client’s setting in this bench, and part of every row.',
    ],
  };
}

export const bench: Bench = { id: 'B7', run: async (context) => [await lostReply(context)] };
