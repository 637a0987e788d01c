import type { Clock } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import type { Authority } from './authority.js';
import { asItIs } from './authority-reads.js';
import { type DeferredWrites, deferredWrites } from './deferred-writes.js';
import { type CacheDeferredEvent, cacheDeferred } from './diagnostics.js';
import { bypass } from './guarded-authority.js';
import type { TierCounter } from './stats.js';

/** What defers the invalidations of a tier. */
export interface DeferringParts {
  readonly name: string;
  readonly clock: Clock;
  readonly counter: TierCounter;
  /** How long a write, or a replay, waits for the tier, in milliseconds. */
  readonly timeoutMs: number;
  readonly keysMax: number;
  /** Whether the tier is known to be out of order: then nothing is sent at first. */
  readonly isOut: () => boolean;
}

/** An authority that keeps invalidations which it could not send. */
export interface DeferringAuthority {
  readonly authority: Authority;
  readonly deferred: DeferredWrites;
}

/**
 * An authority whose writers are spared its outages: an invalidation that was not acknowledged waits
 * here, and until it was, reads of its key go by and nothing is stored under it. A value that could
 * not be stored becomes an invalidation too. Told to its writer is what finds no room, and what
 * carries a fencing token: whether that is stale must be known.
 */
export function deferringAuthority(inner: Authority, parts: DeferringParts): DeferringAuthority {
  const { name, clock, counter, timeoutMs, keysMax, isOut } = parts;
  const tell = (state: CacheDeferredEvent['state'], count: number): void =>
    cacheDeferred.publish(() => ({ cache: name, tier: counter.backend, state, count }));
  const onReplayed = (count: number): void => tell('replayed', count);
  const deferred = deferredWrites({ clock, keysMax, timeoutMs, onReplayed });
  const failed = bypass(counter);

  const defer = (key: string | undefined, send: (timeoutMs: number) => Promise<void>): boolean => {
    const isTaken = deferred.add({ key, send });
    tell(isTaken ? 'deferred' : 'refused', deferred.count);
    return isTaken;
  };
  /** Asks, for as long as a reader would; what could not be done becomes an invalidation. */
  const attempt = async <Reply>(
    key: string | undefined,
    callMs: number,
    call: (timeoutMs: number) => Promise<Reply>,
    onDeferred: { readonly reply: Reply; readonly send: (timeoutMs: number) => Promise<void> },
  ): Promise<Reply> => {
    const isWaiting = key === undefined ? deferred.count > 0 : deferred.blocks(key);
    if ((isWaiting || isOut()) && defer(key, onDeferred.send)) return onDeferred.reply;
    try {
      return await call(Math.min(callMs, timeoutMs));
    } catch (error) {
      const isUnreached = isCoordinationError(error, 'CACHE_TIER_UNREACHABLE');
      if (isUnreached && defer(key, onDeferred.send)) return onDeferred.reply;
      throw error;
    }
  };
  const removal =
    (key: string, holdToken?: string) =>
    (callMs: number): Promise<void> =>
      inner.invalidate(key, holdToken, callMs);

  const readThen: Authority['readThen'] = (key, callMs, isCounted, finish) => {
    if (!deferred.blocks(key)) return inner.readThen(key, callMs, isCounted, finish);
    if (isCounted) counter.skippedCount += 1;
    return Promise.resolve(failed).then(finish);
  };

  const { tags } = inner;
  const authority: Authority = {
    ...inner,
    tags: tags && {
      ...tags,
      async demandStamps(names, keepMs, callMs) {
        try {
          return await tags.demandStamps(names, keepMs, Math.min(callMs, timeoutMs));
        } catch (error) {
          if (!isCoordinationError(error, 'CACHE_TIER_UNREACHABLE')) throw error;
          // No tag ever has this version: should the value be stored after all, it is outdated.
          const stamps = names.map((tag) => ({ tag, version: '' }));
          return { state: 'stamped', stamps, epoch: '' };
        }
      },
      renew: (names, callMs) =>
        attempt(undefined, callMs, (ms) => tags.renew(names, ms), {
          reply: undefined,
          send: (ms) => tags.renew(names, ms),
        }),
    },
    read: (key, callMs, isCounted = true) => readThen(key, callMs, isCounted, asItIs),
    readThen,
    async lease(key, token, callMs, refresh, isCounted) {
      if (!deferred.blocks(key)) return inner.lease(key, token, callMs, refresh, isCounted);
      if (isCounted) counter.skippedCount += 1;
      return failed;
    },
    fill: async (key, ...rest) => (deferred.blocks(key) ? 'failed' : inner.fill(key, ...rest)),
    seize(key, token, callMs, fence) {
      if (fence !== undefined) return inner.seize(key, token, callMs, fence);
      // To the writer it is as if another one held the key: nothing is stored.
      const onDeferred = { reply: 'held', send: removal(key) } as const;
      return attempt(key, callMs, (ms) => inner.seize(key, token, ms), onDeferred);
    },
    store: (key, token, entry, callMs) =>
      attempt(key, callMs, (ms) => inner.store(key, token, entry, ms), {
        reply: 'refused',
        send: removal(key),
      }),
    hold(key, token, callMs, fence) {
      if (fence !== undefined) return inner.hold(key, token, callMs, fence);
      // Not the hold: it may be that of an update that overlaps. The end of the last one ends it.
      const onDeferred = { reply: undefined, send: removal(key) };
      return attempt(key, callMs, (ms) => inner.hold(key, token, ms), onDeferred);
    },
    invalidate(key, holdToken, callMs, fence) {
      if (fence !== undefined) return inner.invalidate(key, holdToken, callMs, fence);
      const onDeferred = { reply: undefined, send: removal(key, holdToken) };
      return attempt(key, callMs, (ms) => inner.invalidate(key, holdToken, ms), onDeferred);
    },
    extend: async (key, ...rest) => (deferred.blocks(key) ? 'failed' : inner.extend(key, ...rest)),
    // What is about to go is not there to live longer.
    touch: async (key, ...rest) => !deferred.blocks(key) && inner.touch(key, ...rest),
    clear: (callMs) =>
      attempt(undefined, callMs, (ms) => inner.clear(ms), {
        reply: undefined,
        send: (ms) => inner.clear(ms),
      }),
    async close() {
      // A tier that is known to be out of order would only keep the close waiting.
      const lostCount = await deferred.end(isOut() ? undefined : timeoutMs);
      if (lostCount > 0) tell('lost', lostCount);
      await inner.close();
    },
  };
  return { authority, deferred };
}
