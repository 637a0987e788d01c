import { invalidArgument } from '../core/validate.js';
import type { Fill } from './authority.js';
import { newToken } from './claims.js';
import type { Deck } from './deck.js';
import { type CacheInvalidatedEvent, cacheInvalidated } from './diagnostics.js';
import type { Isolated } from './isolation.js';
import { lifetimeOf } from './lifetime.js';
import { agingFill } from './load-call.js';
import type { StrictCalls } from './strict-calls.js';
import { pass, type StrictDeck, type StrictJob, strictDelayMs, strictRun } from './strict-run.js';
import { newStrictWrite } from './strict-write.js';
import { stamped, toldCommitted } from './write-through.js';
import type { CacheWriter, WriteOptions } from './writing.js';

/** What the writes of one strict cache go through; undefined for any other cache. */
export function strictDeckOf({ settings, tiers, renewals }: Deck): StrictDeck | undefined {
  // What waits in a process is lost with it, so no write is deferred.
  const calls: StrictCalls | undefined = tiers.direct.strict;
  if (settings.consistency !== 'strict' || calls === undefined) return undefined;
  return {
    settings,
    renewals,
    calls,
    backend: tiers.stats().at(-1)?.backend ?? '',
  };
}

/**
 * The writes of a strict cache: each waits until no process has a copy from before it.
 *
 * Tags and `clear` wait after the change instead of before it: what they invalidate has changed at its
 * source already, where any miss may have shown it, so only the acknowledgement can promise anything.
 */
export function strictWriter(deck: Deck, strict: StrictDeck, plain: CacheWriter): CacheWriter {
  const { near } = deck.tiers;
  const { name, clock, random, aging, leaseMs, strictLeaseMs } = deck.settings;
  const delayMs = strictDelayMs(strictLeaseMs);
  const tell = (key: string, by: CacheInvalidatedEvent['by']): void =>
    cacheInvalidated.publish(() => ({ cache: name, key, by }));
  const token = (): string => newToken(random);
  const begin = (job: Pick<StrictJob, 'key' | 'fence' | 'commits' | 'fill'>) => {
    near?.delete(job.key);
    return strictRun(strict, { ...job, token, holdMs: leaseMs }, newStrictWrite());
  };
  /** Before anything is sent: a call that cannot be done in its time does nothing. */
  const assertTime = (timeoutMs: number): void => {
    if (timeoutMs > delayMs) return;
    throw invalidArgument(
      'timeoutMs',
      timeoutMs,
      `more than ${delayMs} ms, which each write waits`,
    );
  };
  const fillOf = async (
    value: Isolated,
    { ttlMs, timeoutMs, tags }: Pick<WriteOptions, 'ttlMs' | 'timeoutMs' | 'tags'>,
  ): Promise<Fill> => {
    const aged = agingFill(clock, value, lifetimeOf(aging, random, { ttlMs }));
    return tags.length === 0 ? aged : stamped(deck, aged, tags, timeoutMs - delayMs);
  };
  const afterwards = async (write: (timeoutMs: number) => Promise<void>, timeoutMs: number) => {
    assertTime(timeoutMs);
    await write(timeoutMs - delayMs);
    await pass(clock, delayMs);
  };

  return {
    async set(key, value, options) {
      const { timeoutMs, fence } = options;
      assertTime(timeoutMs);
      const sinceMs = clock.monotonicMs();
      const fill = await fillOf(value, options);
      const run = begin({ key, fence, commits: false, fill });
      try {
        await run.advance(timeoutMs - (clock.monotonicMs() - sinceMs));
      } finally {
        run.stop();
        near?.delete(key);
      }
      tell(key, 'set');
    },
    async delete(key, { timeoutMs, fence }) {
      assertTime(timeoutMs);
      const run = begin({ key, fence, commits: false });
      try {
        await run.advance(timeoutMs);
      } finally {
        run.stop();
        near?.delete(key);
      }
      tell(key, 'delete');
    },
    async update(key, commit, options, value) {
      const { timeoutMs, fence } = options;
      assertTime(timeoutMs);
      // Before the reservation is had: an invalidation that comes later finds another version.
      const stamping = value && fillOf(value, options);
      const fill = await stamping?.catch((error) => Promise.reject(toldCommitted(error, false)));
      const run = begin({ key, fence, commits: true });
      const finish = async (stored: Fill | undefined): Promise<void> => {
        run.committed(stored);
        try {
          // Again as long, and the wait on top, should the reservation have been lost.
          await run.advance(timeoutMs + delayMs);
        } finally {
          run.stop();
          near?.delete(key);
        }
      };
      await run.advance(timeoutMs).catch((error) => {
        run.stop();
        throw toldCommitted(error, false);
      });
      near?.delete(key);
      let result: Awaited<ReturnType<typeof commit>>;
      try {
        result = await commit();
      } catch (error) {
        // The source's own error says more than that of an invalidation which also failed.
        await finish(undefined).catch(() => {});
        throw error;
      }
      await finish(fill).catch((error) => Promise.reject(toldCommitted(error, true)));
      tell(key, 'update');
      return result;
    },
    touch: plain.touch,
    invalidateTags: (tags, timeoutMs) =>
      afterwards((callMs) => plain.invalidateTags(tags, callMs), timeoutMs),
    clear: (timeoutMs) => afterwards(plain.clear, timeoutMs),
  };
}
