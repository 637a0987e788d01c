// A process of B3: opens clients of one contender, lets them contend, and tells what each got.
//
//   node b3-client-process.ts ‹url› ‹folder of the peers›      then messages of `Job` from its parent

import { type Client, type Contender, openClient } from './peers.js';

export interface Job {
  readonly contender: Contender;
  readonly resource: string;
  readonly clientCount: number;
  readonly ttlMs: number;
  readonly holdMs: number;
  readonly forMs: number;
}

export interface JobResult {
  /** How many grants each client got. */
  readonly grants: readonly number[];
  /** How long each grant was waited for, in milliseconds. */
  readonly waitsMs: readonly number[];
  /** How many commands its clients sent for that. */
  readonly sentCount: number;
}

const [url = '', folder = ''] = process.argv.slice(2);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

let clients: Client[] = [];
process.on('message', (message: Job | 'begin') => {
  if (message === 'begin') void contend();
  else void open(message);
});
process.once('disconnect', () => process.exit(0));
process.send?.('ready');

let job: Job | undefined;

async function open(next: Job): Promise<void> {
  job = next;
  clients = Array.from({ length: next.clientCount }, () =>
    openClient(next.contender, url, folder, { isCounted: true }),
  );
  // Connections and scripts are there before it begins.
  await Promise.all(
    clients.map(async (client, index) => {
      await (await client.acquire(`${next.resource}:${process.pid}:${index}`, next.ttlMs))();
    }),
  );
  process.send?.('open');
}

async function contend(): Promise<void> {
  if (job === undefined) return;
  const { resource, ttlMs, holdMs, forMs } = job;
  const untilMs = performance.now() + forMs;
  const waitsMs: number[] = [];
  const sent = (): number => clients.reduce((sum, client) => sum + client.sentCount(), 0);
  const sentBefore = sent();
  const grants = clients.map(() => 0);
  let isOver = false;
  const work = Promise.all(
    clients.map(async (client, index) => {
      while (performance.now() < untilMs) {
        const askedMs = performance.now();
        const release = await client.acquire(resource, ttlMs);
        if (!isOver && performance.now() < untilMs) {
          waitsMs.push(performance.now() - askedMs);
          grants[index] = (grants[index] ?? 0) + 1;
          if (holdMs > 0) await sleep(holdMs);
        }
        await release();
      }
    }),
  ).catch(() => {});
  await sleep(forMs);
  const result: JobResult = {
    grants: [...grants],
    waitsMs: [...waitsMs],
    sentCount: sent() - sentBefore,
  };
  isOver = true;
  process.send?.(result);
  // Whoever is still in line is served quickly now, because nobody holds any more.
  await Promise.race([work, sleep(3_000)]);
  await Promise.all(clients.map((client) => client.close()));
  process.send?.('closed');
}
