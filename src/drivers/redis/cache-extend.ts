import type { LeaseTier } from '../../cache/driver.js';
import type { CacheParts } from './cache-marks.js';
import { EXTEND } from './cache-scripts.js';
import { turnCalls } from './cache-turns.js';
import { slotGroups } from './slots.js';

interface Asked {
  readonly name: string;
  readonly ttlMs: number;
  readonly mark: string;
}

const KEYS_MAX = 500;

/** Extends entries: those of one turn of the event loop by one command, or one for each slot. */
export function cacheExtend(parts: CacheParts): LeaseTier<string>['extend'] {
  const { calls, client, keys, clock } = parts;
  const run = async (group: readonly Asked[], timeoutMs: number): Promise<unknown[]> => {
    const names = group.map(({ name }) => name);
    const values = group.flatMap(({ ttlMs, mark }) => [Math.ceil(ttlMs), mark]);
    return (await calls.script(EXTEND, names, values, { timeoutMs })) as unknown[];
  };
  const send = async (asked: readonly Asked[], timeoutMs: number): Promise<boolean[]> => {
    const groups = slotGroups(client, asked, ({ name }) => name, KEYS_MAX);
    const done = new Set<Asked>();
    const runGroup = async (group: readonly Asked[]): Promise<void> => {
      const replies = await run(group, timeoutMs);
      for (const [index, one] of group.entries()) if (replies[index] === 1) done.add(one);
    };
    await Promise.all(groups.map(runGroup));
    return asked.map((one) => done.has(one));
  };
  const finish = (isDone: boolean): 'extended' | 'unchanged' => (isDone ? 'extended' : 'unchanged');
  const extend = turnCalls({ clock, operation: EXTEND.name, send, finish });
  return (key, ttlMs, mark, { timeoutMs }) =>
    extend({ name: keys.entry(key), ttlMs, mark }, timeoutMs);
}
