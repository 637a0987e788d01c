import type { CallBounds, LeaseReply, LeaseTier } from '../../cache/driver.js';
import { textOf } from './cache-entry.js';
import { type CacheMarks, type CacheParts, type Marks, timeLeft } from './cache-marks.js';
import { FILL, LEASE } from './cache-scripts.js';
import { turnCalls } from './cache-turns.js';
import type { RedisArgument } from './client.js';
import { formatError, unknown } from './errors.js';

/** Leases and fills: those of one turn of the event loop with one command, or one each in a cluster. */
export type CacheLeases = Pick<LeaseTier<string>, 'lease' | 'fill' | 'release'>;

/** What a script is to do with one key. */
interface Asked {
  readonly key: string;
  readonly values: readonly RedisArgument[];
}

type FillAsked = Asked & { readonly stored: string };

interface LeaseFound {
  readonly reply: unknown;
  /** As of the moment of the reply. */
  readonly marks: Marks;
}

/** How leases and fills reach the server. */
interface Courier {
  lease(asked: Asked, timeoutMs: number): Promise<LeaseFound>;
  /** Whether the lease was ours and of the cache's generation. */
  fill(asked: FillAsked, timeoutMs: number): Promise<boolean>;
}

const ATTEMPTS_MAX = 8;

export function cacheLeases(parts: CacheParts, marks: CacheMarks): CacheLeases {
  const courier = parts.client.isCluster ? oneByOne(parts, marks) : together(parts, marks);
  const fill = (
    key: string,
    token: string,
    entry: { readonly stored: string; readonly ttlMs: number } | undefined,
    { timeoutMs }: CallBounds,
  ): Promise<boolean> => {
    // Redis takes whole milliseconds; none means that there is no entry.
    const values = [token, key, entry === undefined ? 0 : Math.ceil(entry.ttlMs)];
    return courier.fill({ key, values, stored: entry?.stored ?? '' }, timeoutMs);
  };
  return {
    async lease(key, token, leaseMs, { timeoutMs, refresh }) {
      const values = [token, Math.ceil(leaseMs), refresh ? 1 : 0];
      const { reply, marks: seen } = await courier.lease({ key, values }, timeoutMs);
      return leaseReply(key, reply, seen);
    },
    fill: async (key, token, entry, bounds) =>
      (await fill(key, token, entry, bounds)) ? 'stored' : 'refused',
    release: async (key, token, bounds) =>
      (await fill(key, token, undefined, bounds)) ? 'released' : 'refused',
  };
}

/** All keys live in one place: the scripts look at the marks by themselves. */
function together({ calls, keys, clock }: CacheParts, marks: CacheMarks): Courier {
  const pairsOf = (asked: readonly Asked[]): string[] => asked.flatMap(({ key }) => keys.pair(key));
  return {
    lease: turnCalls<Asked, LeaseFound>(clock, LEASE.name, async (asked, timeoutMs) => {
      const leftMs = timeLeft(clock, LEASE.name, timeoutMs);
      const names = [keys.generation, keys.epoch, ...pairsOf(asked)];
      const values = asked.flatMap((each) => each.values);
      let generation = marks.seen ?? (await marks.made(leftMs())).generation;
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
        const bounds = { timeoutMs: leftMs() };
        const replies = await calls.script(LEASE, names, [2, generation, ...values], bounds);
        const [found, epoch, ...rest] = replies as [string | null, string | null, ...unknown[]];
        marks.note(found);
        if (found === generation && epoch !== null) {
          return rest.map((reply) => ({ reply, marks: { generation, epoch } }));
        }
        const isWhole = found !== null && epoch !== null;
        generation = isWhole ? found : (await marks.made(leftMs())).generation;
      }
      throw unknown(LEASE.name, `the cache was cleared ${ATTEMPTS_MAX} times meanwhile`);
    }),
    fill: turnCalls<FillAsked, boolean>(
      clock,
      FILL.name,
      async (asked, timeoutMs) => {
        const names = [keys.generation, ...pairsOf(asked)];
        const values = asked.flatMap((each) => [...each.values, calls.argument(each.stored)]);
        const all = [1, keys.channel, ...values];
        const replies = await calls.script(FILL, names, all, { timeoutMs });
        return (replies as unknown[]).map((reply) => typeof reply === 'string');
      },
      ({ stored }) => stored.length,
    ),
  };
}

/** Each key in a slot of its own, and the marks in another. */
function oneByOne({ calls, keys }: CacheParts, marks: CacheMarks): Courier {
  return {
    async lease({ key, values }, timeoutMs) {
      const answer = await marks.under('lease', { timeoutMs }, (generation, within) =>
        calls.script(LEASE, keys.pair(key), [0, generation, ...values], within),
      );
      return { reply: (answer.reply as unknown[])[0], marks: answer.marks };
    },
    async fill({ key, values, stored }, timeoutMs) {
      const all = [0, keys.channel, ...values, calls.argument(stored)];
      const [replies, now] = await Promise.all([
        calls.script(FILL, keys.pair(key), all, { timeoutMs }),
        marks.now(timeoutMs),
      ]);
      // Cleared in between: what was stored is of another generation, and nobody will read it.
      return (replies as unknown[])[0] === now.generation;
    },
  };
}

function leaseReply(key: string, reply: unknown, { generation, epoch }: Marks): LeaseReply<string> {
  const [state, ...rest] = reply as [string, ...unknown[]];
  switch (state) {
    case 'found': {
      const stored = textOf(String(rest[0]), generation) ?? '';
      const isHeld = Number(rest[2]) === 1;
      return { state, entry: { stored, remainingMs: Number(rest[1]), isHeld } };
    }
    case 'follower':
      return { state, remainingMs: Number(rest[0]) };
    case 'leader':
      return { state, epoch };
    case 'held':
      return { state };
    default:
      throw formatError(`the claim of key ${JSON.stringify(key)}`, String(rest[0]), 1);
  }
}
