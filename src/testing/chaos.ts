import type { SharedCacheDriver } from '../cache/driver.js';
import { type Clock, systemClock } from '../core/clock.js';
import { seededRandom, systemRandom } from '../core/random.js';
import { assertNumber } from '../core/validate.js';
import type { LockDriver } from '../lock/driver.js';
import type { DecisionLog } from '../transaction/decision-log.js';
import type { Participant } from '../transaction/participant.js';
import { stormyCache, stormyLog, stormyParticipant } from './chaos-calls.js';
import { stormyLock } from './chaos-lock.js';
import { type ChaosFault, type ChaosFaults, weatherOf } from './chaos-weather.js';

/** Options of {@link chaos}. */
export interface ChaosOptions {
  /** The same seed and the same calls, the same faults: 0 to 2^32 - 1. Default: by chance; print it. */
  readonly seed?: number | undefined;
  /** What befalls calls of every operation. Default a tenth of each fault, with delays up to 50 ms. */
  readonly faults?: ChaosFaults | undefined;
  /**
   * What befalls calls of one operation instead, by the method's name in the driver's interface:
   * `{ renew: { loseReply: 0.5 } }`; `onWaiters` and `watch` for hints.
   */
  readonly operations?: Readonly<Record<string, ChaosFaults>> | undefined;
  /** What delays are counted on. Default the machine's clock; pass the virtual one in tests. */
  readonly clock?: Clock | undefined;
}

/** Bad weather for drivers. Made by {@link chaos}. */
export interface Chaos {
  /** What to print when a test fails. */
  readonly seed: number;
  /** How often each fault has happened so far. */
  readonly counts: Readonly<Record<ChaosFault, number>>;
  /** A lock driver whose every call may fail as its contract allows. */
  lock(driver: LockDriver): LockDriver;
  /** A decision log of the same kind. */
  decisionLog(log: DecisionLog): DecisionLog;
  /** A participant of the same kind, and its branches. */
  participant<T extends Participant<unknown>>(participant: T): T;
  /** A shared cache tier of the same kind. */
  cache(driver: SharedCacheDriver): SharedCacheDriver;
  /** No more faults; what is held back goes on at once. For the end of a test. */
  calm(): void;
  /** Faults again. */
  rage(): void;
}

const SEED_MAX = 2 ** 32 - 1;
const TENTH = 0.1;
const FAULTS: ChaosFaults = {
  ...{ delay: TENTH, refuse: TENTH, loseRequest: TENTH, loseReply: TENTH, duplicate: TENTH },
  loseHint: TENTH,
};

/**
 * Wraps drivers so that their calls are delayed, overtaken, refused, lost or sent twice, by a seed.
 *
 * What comes out is still a driver that keeps its contract: a request that is lost is RESULT_UNKNOWN
 * and not a failure, and a grant or branch whose answer was lost is ended in the background. So
 * whatever breaks, breaks in what uses the driver. After FusionCache's chaos components, with a seed.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a probability outside 0 to 1 or a bad seed.
 */
export function chaos(options: ChaosOptions = {}): Chaos {
  const { seed = Math.floor(systemRandom.fraction() * SEED_MAX) } = options;
  const { faults = FAULTS, operations = {}, clock = systemClock } = options;
  assertNumber('seed', seed, { min: 0, max: SEED_MAX, integer: true });
  assertFaults('faults', faults);
  for (const [name, own] of Object.entries(operations)) assertFaults(`operations.${name}`, own);
  const own = new Map(Object.entries(operations));
  const weather = weatherOf(seededRandom(seed), clock, (name) => own.get(name) ?? faults);
  return {
    seed,
    counts: weather.counts,
    lock: (driver) => stormyLock(driver, weather),
    decisionLog: (log) => stormyLog(log, weather),
    participant: (participant) => stormyParticipant(participant, weather),
    cache: (driver) => stormyCache(driver, weather),
    calm: () => weather.calm(),
    rage() {
      weather.isCalm = false;
    },
  };
}

function assertFaults(argument: string, faults: ChaosFaults): void {
  const { delayMsMax = 0, ...probabilities } = faults;
  assertNumber(`${argument}.delayMsMax`, delayMsMax, { min: 0 });
  for (const [name, probability = 0] of Object.entries(probabilities)) {
    assertNumber(`${argument}.${name}`, probability, { min: 0, max: 1 });
  }
}
