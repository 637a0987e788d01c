import type { CallBounds, TierEntry } from '../../cache/driver.js';
import { textOf } from './cache-entry.js';
import type { CacheMarks, CacheParts } from './cache-marks.js';
import { READ } from './cache-scripts.js';
import { READ_HELD } from './cache-strict-scripts.js';
import { turnCalls } from './cache-turns.js';
import { slotGroups } from './slots.js';

/** Reads entries: those of one turn of the event loop with one command, or one for each slot. */
export type CacheReads = (
  key: string,
  bounds: CallBounds & { readonly withRemaining: boolean },
) => Promise<TierEntry<string> | undefined>;

type Found = readonly [
  stored: string | null,
  remainingMs: number | undefined,
  isHeld?: boolean | undefined,
];

const KEYS_MAX = 500;

export function cacheReads(
  parts: CacheParts,
  marks: CacheMarks,
  { isStrict = false }: { readonly isStrict?: boolean | undefined } = {},
): CacheReads {
  const { calls, client, keys, clock } = parts;

  const plain = async (names: string[], timeoutMs: number): Promise<Found[]> =>
    (await calls.mget(names, { timeoutMs })).map((stored) => [stored, undefined]);
  const timed = async (names: string[], timeoutMs: number): Promise<Found[]> => {
    const found = (await calls.script(READ, names, [], { timeoutMs })) as (string | number)[];
    return names.map((_, index) => [
      found[2 * index] as string | null,
      Number(found[2 * index + 1]),
    ]);
  };
  const held = async (names: string[], timeoutMs: number): Promise<Found[]> => {
    const entries = names.filter((name) => name !== keys.generation);
    const all = [...names, ...entries.map(keys.claimOf)];
    const bare = [names.length - entries.length];
    const found = (await calls.script(READ_HELD, all, bare, { timeoutMs })) as (string | number)[];
    return names.map((_, index) => [
      found[3 * index] as string | null,
      Number(found[3 * index + 1]),
      Number(found[3 * index + 2]) === 1,
    ]);
  };
  type Ask = typeof plain;

  /** The generation is read along: as of the same moment. */
  const readTogether = async (names: string[], timeoutMs: number, ask: Ask) => {
    const [mark, ...found] = await ask([keys.generation, ...names], timeoutMs);
    marks.note(mark?.[0] ?? null);
    return { generation: mark?.[0] ?? undefined, found };
  };
  /** An entry that was stored under the generation that is read at another moment is good. */
  const readBySlot = async (names: string[], timeoutMs: number, ask: Ask) => {
    const groups = slotGroups(client, names, (name) => name, KEYS_MAX);
    const [now, ...parts] = await Promise.all([
      marks.now(timeoutMs),
      ...groups.map(async (group) => ({ group, found: await ask(group, timeoutMs) })),
    ]);
    const byName = new Map<string, Found>();
    for (const { group, found } of parts) {
      for (const [index, name] of group.entries()) {
        byName.set(name, found[index] ?? [null, undefined]);
      }
    }
    return { generation: now.generation, found: names.map((name) => byName.get(name)) };
  };
  const read = client.isCluster ? readBySlot : readTogether;
  const askWith = (ask: Ask) =>
    turnCalls({
      clock,
      operation: 'read',
      async send(asked: readonly string[], timeoutMs) {
        const { generation, found } = await read(asked.map(keys.entry), timeoutMs, ask);
        return found.map((one) => entryOf(one, generation));
      },
      finish: (entry) => entry,
    });
  const readPlain = askWith(plain);
  const readTimed = askWith(isStrict ? held : timed);
  return (key, { timeoutMs, withRemaining }) =>
    withRemaining ? readTimed(key, timeoutMs) : readPlain(key, timeoutMs);
}

function entryOf(
  found: Found | undefined,
  generation: string | undefined,
): TierEntry<string> | undefined {
  const [stored, remainingMs, isHeld] = found ?? [];
  if (typeof stored !== 'string') return undefined;
  const text = textOf(stored, generation);
  return text === undefined ? undefined : { stored: text, remainingMs, isHeld };
}
