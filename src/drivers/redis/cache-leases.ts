import type { LeaseReply, LeaseTier } from '../../cache/driver.js';
import { textOf } from './cache-entry.js';
import { type CacheMarks, type CacheParts, type Marks, timeLeft } from './cache-marks.js';
import { FILL, LEASE } from './cache-scripts.js';
import { turnCalls } from './cache-turns.js';
import type { RedisArgument } from './client.js';
import { formatError, unknown } from './errors.js';

/** Leases and fills: those of one turn of the event loop with one command, or one each in a cluster. */
export type CacheLeases = Pick<LeaseTier<string>, 'lease' | 'fill' | 'release'>;

interface LeaseAsked {
  readonly key: string;
  readonly token: string;
  /** Whole milliseconds. */
  readonly leaseMs: number;
  readonly refresh: boolean;
}

interface FillAsked<Done> {
  readonly key: string;
  readonly token: string;
  /** Whole milliseconds; 0: the lease ends without an entry. */
  readonly ttlMs: number;
  readonly stored: string;
  /** The answer when it was done. */
  readonly done: Done;
}

/** How leases and fills reach the server. */
interface Courier {
  lease(asked: LeaseAsked, timeoutMs: number): Promise<LeaseReply<string>>;
  /** `refused`: the lease was not ours, or not of the cache's generation. */
  fill<Done>(asked: FillAsked<Done>, timeoutMs: number): Promise<Done | 'refused'>;
}

const ATTEMPTS_MAX = 8;
/**
 * So many keys go with one call of a script: the server works on it while this process prepares the
 * next one, and nobody else waits for it for long.
 */
const SCRIPT_KEYS_MAX = 32;

export function cacheLeases(parts: CacheParts, marks: CacheMarks): CacheLeases {
  const courier = parts.client.isCluster ? oneByOne(parts, marks) : together(parts, marks);
  return {
    lease: (key, token, leaseMs, { timeoutMs, refresh = false }) =>
      courier.lease({ key, token, leaseMs: Math.ceil(leaseMs), refresh }, timeoutMs),
    fill(key, token, { stored, ttlMs }, { timeoutMs }) {
      const asked = {
        key,
        token,
        ttlMs: Math.ceil(ttlMs),
        stored,
        done: 'stored',
      } as const;
      return courier.fill(asked, timeoutMs);
    },
    release: (key, token, { timeoutMs }) =>
      courier.fill({ key, token, ttlMs: 0, stored: '', done: 'released' } as const, timeoutMs),
  };
}

/** All keys live in one place: the scripts look at the marks by themselves. */
function together(parts: CacheParts, marks: CacheMarks): Courier {
  const { clock } = parts;
  const fill = turnCalls<FillAsked<unknown>, unknown, unknown>({
    clock,
    operation: FILL.name,
    send: (asked, timeoutMs) => fillTogether(parts, asked, timeoutMs),
    finish: (reply, { done }) => (typeof reply === 'string' ? done : 'refused'),
    charactersOf: ({ stored }) => stored.length,
    sizeMax: SCRIPT_KEYS_MAX,
  });
  return {
    lease: turnCalls({
      clock,
      operation: LEASE.name,
      send: (asked: readonly LeaseAsked[], timeoutMs) =>
        leaseTogether(parts, marks, asked, timeoutMs),
      finish: (found, { key }) => leaseReply(key, found.reply, found.marks),
      isAlike: (first, { leaseMs, refresh }) =>
        first.leaseMs === leaseMs && first.refresh === refresh,
      sizeMax: SCRIPT_KEYS_MAX,
    }),
    fill: fill as Courier['fill'],
  };
}

interface LeaseFound {
  readonly reply: unknown;
  /** As of the moment of the reply. */
  readonly marks: Marks;
}

async function leaseTogether(
  { calls, keys, clock }: CacheParts,
  marks: CacheMarks,
  asked: readonly LeaseAsked[],
  timeoutMs: number,
): Promise<LeaseFound[]> {
  const leftMs = timeLeft(clock, LEASE.name, timeoutMs);
  const names = [keys.generation, keys.epoch];
  const values = headOf(2, marks.seen ?? (await marks.made(leftMs())).generation, asked[0]);
  for (const { key, token } of asked) {
    names.push(keys.entry(key));
    values.push(token);
  }
  for (let index = 2, end = names.length; index < end; index += 1) {
    names.push(keys.claimOf(names[index] ?? ''));
  }
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const generation = String(values[1]);
    const bounds = { timeoutMs: leftMs() };
    const replies = (await calls.script(LEASE, names, values, bounds)) as (string | null)[];
    const [found = null, epoch = null] = replies;
    marks.note(found);
    if (found === generation && epoch !== null) {
      const seen: Marks = { generation, epoch };
      return asked.map((_, index) => ({
        reply: replies[index + 2],
        marks: seen,
      }));
    }
    const isWhole = found !== null && epoch !== null;
    values[1] = isWhole ? found : (await marks.made(leftMs())).generation;
  }
  throw unknown(LEASE.name, `the cache was cleared ${ATTEMPTS_MAX} times meanwhile`);
}

/** What stands before the tokens. */
function headOf(
  markCount: number,
  generation: string,
  first: LeaseAsked | undefined,
): RedisArgument[] {
  return [markCount, generation, first?.leaseMs ?? 0, first?.refresh ? 1 : 0];
}

async function fillTogether(
  { calls, keys }: CacheParts,
  asked: readonly FillAsked<unknown>[],
  timeoutMs: number,
): Promise<readonly unknown[]> {
  const names = [keys.generation];
  const values: RedisArgument[] = [1, keys.channel];
  const entries = asked.map(({ key }) => keys.entry(key));
  for (const entry of entries) names.push(keys.claimOf(entry));
  names.push(...entries);
  for (const { key, token, ttlMs, stored } of asked) {
    values.push(token, key, ttlMs, calls.argument(stored));
  }
  return (await calls.script(FILL, names, values, { timeoutMs })) as unknown[];
}

/** Each key in a slot of its own, and the marks in another. */
function oneByOne({ calls, keys }: CacheParts, marks: CacheMarks): Courier {
  return {
    async lease(asked, timeoutMs) {
      const { key, token } = asked;
      const answer = await marks.under('lease', { timeoutMs }, (generation, within) =>
        calls.script(LEASE, keys.pair(key), [...headOf(0, generation, asked), token], within),
      );
      return leaseReply(key, (answer.reply as unknown[])[0], answer.marks);
    },
    async fill({ key, token, ttlMs, stored, done }, timeoutMs) {
      const all = [0, keys.channel, token, key, ttlMs, calls.argument(stored)];
      const [replies, now] = await Promise.all([
        calls.script(FILL, keys.pair(key).toReversed(), all, { timeoutMs }),
        marks.now(timeoutMs),
      ]);
      // Cleared in between: what was stored is of another generation, and nobody will read it.
      return (replies as unknown[])[0] === now.generation ? done : 'refused';
    },
  };
}

function leaseReply(key: string, reply: unknown, { generation, epoch }: Marks): LeaseReply<string> {
  if (reply === 'leader') return { state: 'leader', epoch };
  if (reply === 'held') return { state: 'held' };
  const [state, ...rest] = reply as [string, ...unknown[]];
  switch (state) {
    case 'found': {
      const stored = textOf(String(rest[0]), generation) ?? '';
      const isHeld = Number(rest[2]) === 1;
      return { state, entry: { stored, remainingMs: Number(rest[1]), isHeld } };
    }
    case 'follower':
      return { state, remainingMs: Number(rest[0]) };
    default:
      throw formatError(`the claim of key ${JSON.stringify(key)}`, String(rest[0]), 1);
  }
}
