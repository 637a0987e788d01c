import { instantOf } from '../core/clock.js';
import type { CallOptions } from './arguments.js';
import { keepClaim, newToken } from './claims.js';
import type { Deck } from './deck.js';
import { type CacheInvalidatedEvent, cacheInvalidated } from './diagnostics.js';
import { sharedHolds } from './holds.js';
import type { Isolated } from './isolation.js';
import { lifetimeOf } from './lifetime.js';
import { agingFill } from './load-call.js';
import { keepNear } from './near.js';
import { stamped, toldCommitted, writeThrough } from './write-through.js';

/** The writes of one cache. Bounds and values were checked. */
export interface CacheWriter {
  set(key: string, value: Isolated, options: WriteOptions): Promise<void>;
  delete(key: string, options: WriteOptions): Promise<void>;
  /** Whether there was an entry. */
  touch(key: string, options: WriteOptions): Promise<boolean>;
  update<Result>(
    key: string,
    commit: () => Result | Promise<Result>,
    options: WriteOptions,
    value?: Isolated,
  ): Promise<Result>;
  invalidateTags(tags: readonly string[], timeoutMs: number): Promise<void>;
  clear(timeoutMs: number): Promise<void>;
}

/** The options of a write, checked. */
export type WriteOptions = Pick<CallOptions, 'ttlMs' | 'timeoutMs' | 'fence' | 'tags'>;

/**
 * Writes, each in the order that leaves no old value behind: the near copy goes before the request is
 * sent and again after it was answered, because a reader may have brought it back in between.
 */
export function cacheWriter(deck: Deck): CacheWriter {
  const { authority, near } = deck.tiers;
  const { name, random } = deck.settings;
  const holds = sharedHolds(random);
  const tell = (key: string | undefined, by: CacheInvalidatedEvent['by']): void =>
    cacheInvalidated.publish(() => ({ cache: name, key, by }));

  return {
    async set(key, value, options) {
      await setThrough(deck, key, value, options);
      tell(key, 'set');
    },
    async delete(key, { timeoutMs, fence }) {
      near?.delete(key);
      try {
        await authority.invalidate(key, undefined, timeoutMs, fence);
      } finally {
        near?.delete(key);
      }
      tell(key, 'delete');
    },
    async touch(key, { ttlMs, timeoutMs }) {
      const { staleMs, staleIfErrorMs } = deck.settings.aging;
      near?.delete(key);
      try {
        return await authority.touch(key, ttlMs + Math.max(staleMs, staleIfErrorMs), timeoutMs);
      } finally {
        near?.delete(key);
      }
    },
    async update(key, commit, options, value) {
      const { timeoutMs, fence } = options;
      if (value !== undefined) {
        const written = await writeThrough(deck, { key, value, commit, options });
        if (written.isHeld === false) {
          tell(key, 'update');
          return written.result;
        }
      }
      const { token, leave } = holds.enter(key);
      near?.delete(key);
      const held = authority.hold(key, token, timeoutMs, fence);
      await held.catch((error) => {
        leave();
        throw toldCommitted(error, false);
      });
      // A read that was under way may have brought the old value back.
      near?.delete(key);
      const stop = keepClaim(deck, key, { kind: 'hold', token });
      const release = async (): Promise<void> => {
        stop();
        try {
          // The hold of those that still commit stays.
          await authority.invalidate(key, leave() ? token : undefined, timeoutMs);
        } finally {
          near?.delete(key);
        }
      };
      let result: Awaited<ReturnType<typeof commit>>;
      try {
        result = await commit();
      } catch (error) {
        // The source's own error says more than that of an invalidation which also failed.
        await release().catch(() => {});
        throw error;
      }
      await release().catch((error) => Promise.reject(toldCommitted(error, true)));
      tell(key, 'update');
      return result;
    },
    async invalidateTags(tags, timeoutMs) {
      const forget = (): void => {
        for (const tag of tags) near?.tags.renewed(tag);
      };
      if (tags.length === 0) return;
      forget();
      try {
        await authority.tags?.renew(tags, timeoutMs);
      } finally {
        forget();
      }
      cacheInvalidated.publish(() => ({ cache: name, key: undefined, tags, by: 'tags' }));
    },
    async clear(timeoutMs) {
      near?.clear();
      try {
        await authority.clear(timeoutMs);
      } finally {
        near?.clear();
      }
      tell(undefined, 'clear');
    },
  };
}

/**
 * Takes the lease from everybody, then fills with it. A store that is sent twice, or late, finds its
 * lease gone and changes nothing, so that an acknowledged later write is never undone.
 */
async function setThrough(
  deck: Deck,
  key: string,
  value: Isolated,
  { ttlMs, timeoutMs, fence, tags }: WriteOptions,
): Promise<void> {
  const { authority, near } = deck.tiers;
  const { clock, random, aging } = deck.settings;
  const aged = agingFill(clock, value, lifetimeOf(aging, random, { ttlMs }));
  const token = newToken(random);
  near?.delete(key);
  const ticket = near?.begin(key);
  let isStored = false;
  const since = instantOf(clock);
  let fill = aged;
  try {
    // Before the lease is had: an invalidation that comes later finds another version.
    if (tags.length > 0) fill = await stamped(deck, aged, tags, timeoutMs);
    // A hold stays: its owner commits something newer than this value, and invalidates.
    if ((await authority.seize(key, token, timeoutMs, fence)) === 'held') return;
    const answer = await authority.store(key, token, fill, timeoutMs);
    isStored = answer === 'accepted';
  } finally {
    if (ticket !== undefined) near?.end(ticket);
    // Void: another write of this process went on meanwhile, and the order is not known here.
    const isLast = isStored && ticket?.isVoid === false;
    near?.delete(key);
    const own = near?.begin(key);
    if (own !== undefined) {
      if (isLast) {
        keepNear(deck, own, fill.value, { since, forMs: fill.ttlMs }, ticket.moment);
      }
      near?.end(own);
    }
  }
}
