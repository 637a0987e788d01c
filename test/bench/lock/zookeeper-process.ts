// tricord on ZooKeeper in a process of its own, which does what the Curator program does:
//
//   node zookeeper-process.ts ‹servers›      then messages of `Question` from its parent

import { createLock, type Lock } from 'tricord';
import { zookeeper, zookeeperLock } from 'tricord/zookeeper';
import { median } from './measure.js';
import { type BareClient, bareClient } from './zookeeper-bare.js';

export interface Question {
  readonly verb: 'pairs' | 'bare' | 'below' | 'tasks' | 'handoff';
  readonly count: number;
  readonly tasks: number;
  readonly resource: string;
}

const [servers = ''] = process.argv.slice(2);
const open = (): Lock =>
  createLock({
    driver: zookeeperLock({ session: zookeeper({ servers, sessionTimeoutMs: 10_000 }) }),
    waitMs: 60_000,
  });
const [one, two] = [open(), open()] as const;
const bare = new Map<boolean, Promise<BareClient>>();

async function pairs(count: number, resource: string): Promise<number> {
  const startedMs = performance.now();
  for (let done = 0; done < count; done += 1) {
    const lease = await one.acquire(resource);
    await lease.release();
  }
  return performance.now() - startedMs;
}

/** What every pair costs with this client: a place is made and the line listed in one go, and it goes. */
async function barePairs(count: number, directory: string, isBelow: boolean): Promise<number> {
  const connecting = bare.get(isBelow) ?? bareClient(servers, isBelow);
  bare.set(isBelow, connecting);
  const client = await connecting;
  await client.make(directory);
  const startedMs = performance.now();
  for (let done = 0; done < count; done += 1) {
    const [place] = await Promise.all([client.stand(directory), client.list(directory)]);
    await client.leave(place);
  }
  return performance.now() - startedMs;
}

async function inTasks(tasks: number, count: number, resource: string): Promise<number> {
  const startedMs = performance.now();
  let begun = 0;
  const task = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      const lease = await one.acquire(resource);
      await lease.release();
    }
  };
  await Promise.all(Array.from({ length: tasks }, task));
  return performance.now() - startedMs;
}

async function handOff(count: number, resource: string): Promise<number> {
  const took: number[] = [];
  for (let done = 0; done < count; done += 1) {
    const held = await one.acquire(resource);
    let grantedMs = 0;
    const waiting = two.acquire(resource).then((lease) => {
      grantedMs = performance.now();
      return lease;
    });
    while ((await one.inspect(resource)).waiters.length === 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const releasedMs = performance.now();
    const [next] = await Promise.all([waiting, held.release()]);
    took.push(grantedMs - releasedMs);
    await next.release();
  }
  return median(took);
}

process.on('message', async ({ verb, count, tasks, resource }: Question) => {
  const answer =
    verb === 'pairs'
      ? await pairs(count, resource)
      : verb === 'bare' || verb === 'below'
        ? await barePairs(count, resource, verb === 'below')
        : verb === 'tasks'
          ? await inTasks(tasks, count, resource)
          : await handOff(count, resource);
  process.send?.(answer);
});
process.once('disconnect', () => process.exit(0));
await one.acquire('ready').then((lease) => lease.release());
await two.acquire('ready').then((lease) => lease.release());
process.send?.('ready');
