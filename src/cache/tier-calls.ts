import { sleep } from '../core/abort.js';
import { backoffMs } from '../core/backoff.js';
import { elapsedMs, instantOf } from '../core/clock.js';
import { CoordinationError, isCoordinationError } from '../core/errors.js';
import { fenceStaleError } from '../core/fencing-token.js';
import { cacheTierFailed } from './diagnostics.js';
import type { CacheNode, CallBounds, FencedOff } from './driver.js';
import type { TierCounter } from './stats.js';

/** The tier did not answer, or with an error. It was counted and published. */
export interface Failed {
  readonly state: 'failed';
  readonly error: unknown;
}

/** How a tier is called: what happens when it fails. */
export interface TierCalls {
  /** Counts and publishes a failure. */
  failed(operation: string, key: string | undefined, error: unknown): Failed;
  /** Asks for what a reader can do without: a failure is an answer. */
  ask<Reply>(
    operation: string,
    key: string | undefined,
    call: () => Promise<Reply>,
  ): Promise<Reply | Failed>;
  /**
   * Demands what a writer must know: again and again while there is time, as all of it can be
   * repeated; then rejects with CACHE_TIER_UNREACHABLE.
   */
  demand<Reply>(
    operation: string,
    key: string | undefined,
    timeoutMs: number,
    call: (bounds: CallBounds) => Promise<Reply>,
  ): Promise<Reply>;
}

/** Errors after which the same request may be sent again. */
const REPEATABLE: ReadonlySet<unknown> = new Set(['RESULT_UNKNOWN', 'BACKEND_UNAVAILABLE']);
const RETRY = { baseMs: 20, maxMs: 500 };

/** Calls of one tier of one cache. */
export function tierCalls({ name, clock, random }: CacheNode, counter: TierCounter): TierCalls {
  const { backend } = counter;
  const failed = (operation: string, key: string | undefined, error: unknown): Failed => {
    counter.failureCount += 1;
    cacheTierFailed.publish(() => ({ cache: name, tier: backend, operation, key, error }));
    return { state: 'failed', error };
  };
  return {
    failed,
    async ask(operation, key, call) {
      try {
        return await call();
      } catch (error) {
        return failed(operation, key, error);
      }
    },
    async demand(operation, key, timeoutMs, call) {
      const since = instantOf(clock);
      for (let attempt = 0; ; attempt += 1) {
        try {
          return await call({ timeoutMs: Math.max(timeoutMs - elapsedMs(clock, since), 1) });
        } catch (error) {
          failed(operation, key, error);
          const delayMs = backoffMs(attempt, RETRY, random);
          const isTooLate = elapsedMs(clock, since) + delayMs >= timeoutMs;
          if (isTooLate || !isRepeatable(error)) throw unreachable(name, backend, key, error);
          await sleep(clock, delayMs);
        }
      }
    },
  };
}

/** The reply, unless it refuses a fencing token: then throws FENCE_STALE. */
export function unlessStale<Reply>(
  reply: Reply | FencedOff,
  key: string,
  fence: bigint | undefined,
): Reply {
  if (typeof reply !== 'object' || reply === null || !('newest' in reply)) return reply as Reply;
  throw fenceStaleError(key, fence ?? 0n, BigInt(reply.newest));
}

function isRepeatable(error: unknown): boolean {
  return isCoordinationError(error) && REPEATABLE.has(error.code);
}

/** The error for what a tier has not acknowledged. */
export function unreachable(
  cache: string,
  tier: string,
  key: string | undefined,
  cause: unknown,
): CoordinationError<'CACHE_TIER_UNREACHABLE'> {
  const keys = key === undefined ? [] : [key];
  const what = key === undefined ? 'everything' : JSON.stringify(key);
  const message =
    `cache ${cache} got no acknowledgement from ${tier} for ${what}: it may hold an old value ` +
    'until its TTL; repeat the call';
  return new CoordinationError('CACHE_TIER_UNREACHABLE', message, { tier, keys }, { cause });
}
