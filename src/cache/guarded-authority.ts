import { CoordinationError, isCoordinationError } from '../core/errors.js';
import type { Authority } from './authority.js';
import { asItIs } from './authority-reads.js';
import type { Breaker } from './breaker.js';
import type { TierCounter } from './stats.js';
import type { Failed } from './tier-calls.js';

/** What guards the calls of a tier. */
export interface Guard {
  readonly breaker: Breaker;
  readonly counter: TierCounter;
}

/**
 * An authority behind a breaker: what a reader can do without goes by while it is open. Writers ask
 * always, as they must know, and have longer; how it went with them is no less a sign.
 */
export function guardedAuthority(inner: Authority, guard: Guard): Authority {
  const { breaker, counter } = guard;
  const failed = bypass(counter);
  /** Undefined: it went by. */
  const ask = async <Reply extends object | string>(
    call: () => Promise<Reply>,
  ): Promise<Reply | undefined> => {
    const entered = breaker.enter();
    if (entered === undefined) return undefined;
    let isAnswered = false;
    try {
      const answer = await call();
      isAnswered = !isFault(answer);
      return answer;
    } finally {
      breaker.leave(entered, isAnswered ? 'answered' : 'failed');
    }
  };
  const demand = async <Reply>(call: () => Promise<Reply>): Promise<Reply> => {
    const entered = breaker.state === 'closed' ? breaker.enter() : undefined;
    if (entered === undefined) return call();
    try {
      const reply = await call();
      breaker.leave(entered, 'answered');
      return reply;
    } catch (error) {
      const isUnreached = isCoordinationError(error, 'CACHE_TIER_UNREACHABLE');
      breaker.leave(entered, isUnreached ? 'failed' : 'answered');
      throw error;
    }
  };
  const readThen: Authority['readThen'] = (key, timeoutMs, isCounted, finish) => {
    const entered = breaker.enter();
    if (entered === undefined) {
      if (isCounted) counter.skippedCount += 1;
      return Promise.resolve(failed).then(finish);
    }
    return inner.readThen(key, timeoutMs, isCounted, (answer) => {
      breaker.leave(entered, isFault(answer) ? 'failed' : 'answered');
      return finish(answer);
    });
  };
  const { sync, tags } = inner;
  return {
    ...inner,
    sync: sync && (async (timeoutMs) => (await ask(() => sync(timeoutMs))) ?? failed),
    tags: tags && {
      ...tags,
      stamp: async (...given) => (await ask(() => tags.stamp(...given))) ?? failed,
      demandStamps: (...given) => demand(() => tags.demandStamps(...given)),
      renew: (...given) => demand(() => tags.renew(...given)),
    },
    // As `ask` does, with one promise each: every hit and miss of a shared tier comes this way.
    read: (key, timeoutMs, isCounted = true) => readThen(key, timeoutMs, isCounted, asItIs),
    readThen,
    lease(key, token, timeoutMs, refresh, isCounted) {
      const entered = breaker.enter();
      if (entered === undefined) {
        if (isCounted) counter.skippedCount += 1;
        return Promise.resolve(failed);
      }
      return inner.lease(key, token, timeoutMs, refresh, isCounted).then((answer) => {
        breaker.leave(entered, isFault(answer) ? 'failed' : 'answered');
        return answer;
      });
    },
    fill(key, token, entry, timeoutMs) {
      const entered = breaker.enter();
      if (entered === undefined) return Promise.resolve('failed');
      return inner.fill(key, token, entry, timeoutMs).then((answer) => {
        breaker.leave(entered, answer === 'failed' ? 'failed' : 'answered');
        return answer;
      });
    },
    extend: async (...given) => (await ask(() => inner.extend(...given))) ?? 'failed',
    seize: (...given) => demand(() => inner.seize(...given)),
    store: (...given) => demand(() => inner.store(...given)),
    hold: (...given) => demand(() => inner.hold(...given)),
    invalidate: (...given) => demand(() => inner.invalidate(...given)),
    touch: (...given) => demand(() => inner.touch(...given)),
    clear: (...given) => demand(() => inner.clear(...given)),
  };
}

/** The answer of a tier that was not asked: one for all, as nobody looks whose it is. */
export function bypass({ backend }: TierCounter): Failed {
  const message = `${backend} is out of order and was not asked`;
  const details = { backend, operation: 'cache' };
  return { state: 'failed', error: new CoordinationError('BACKEND_UNAVAILABLE', message, details) };
}

/** Errors that say nothing of the tier: what stands there cannot be read here, or nobody asks any more. */
const NO_FAULTS: ReadonlySet<unknown> = new Set(['UPGRADE_NEEDED', 'DATA_CORRUPT', 'CLOSED']);

function isFault(answer: object | string): boolean {
  if (typeof answer === 'string') return answer === 'failed';
  if (!('error' in answer)) return false;
  return !(isCoordinationError(answer.error) && NO_FAULTS.has(answer.error.code));
}
