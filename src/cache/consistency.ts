import { assertNumber, assertTtlMs, invalidArgument } from '../core/validate.js';
import type { CacheConsistency, CacheOptions } from './cache.js';
import type { CacheDriver, SharedCacheDriver } from './driver.js';
import { strictDelayMs } from './strict-run.js';
import type { CacheSettings } from './tiers.js';

const LOCAL_TTL_MS_DEFAULT = 5_000;
const NOTIFIED_TTL_MS_DEFAULT = 60_000;
const STRICT_LEASE_MS_DEFAULT = 1_000;

/** What tiers can give: their default first. */
function levelsOf(tiers: readonly CacheDriver[]): readonly CacheConsistency[] {
  const last = tiers.at(-1);
  if (last?.scope !== 'shared') return ['lease', 'ttl'];
  const strict: readonly CacheConsistency[] = last.reserves ? ['strict'] : [];
  if (tiers.length > 1) return [...toldLevelsOf(last.tells), 'ttl', ...strict];
  return last.lags ? ['sequential', 'lease', 'ttl'] : ['lease', 'ttl', ...strict];
}

function toldLevelsOf(tells: SharedCacheDriver['tells']): readonly CacheConsistency[] {
  if (tells === undefined || tells === false) return [];
  return [tells === 'writes' ? 'notified' : 'tracked'];
}

const REMEDIES: Readonly<Record<CacheConsistency, string>> = {
  lease: 'one tier alone, as memory before it cannot be that fresh',
  notified: "memoryCache() before redisCache() with news: 'bus' or 'auto'",
  sequential: 'zookeeperCache() alone',
  strict: 'redisCache() as the last tier',
  tracked: 'memoryCache() before a tier that tells of changes, such as redisCache()',
  ttl: 'any tiers',
};

/** The level that was asked for if the tiers can give it; else the strongest that costs no more. */
export function consistencyOf(
  tiers: readonly CacheDriver[],
  asked: CacheConsistency | undefined,
): CacheConsistency {
  const levels = levelsOf(tiers);
  const [strongest = 'ttl'] = levels;
  if (asked === undefined || levels.includes(asked)) return asked ?? strongest;
  const shown = levels.map((level) => `'${level}'`).join(' or ');
  const remedy = Object.hasOwn(REMEDIES, asked) ? `, or for it ${REMEDIES[asked]}` : '';
  throw invalidArgument('consistency', asked, `${shown} with these tiers${remedy}`);
}

type Promised = Pick<
  CacheSettings,
  'consistency' | 'isSynced' | 'localTtlMs' | 'outageTtlMs' | 'strictLeaseMs'
>;

/** The options on which a level of consistency depends, checked and completed. */
export function promiseOf(
  given: Partial<CacheOptions> & Pick<CacheOptions, 'tiers'>,
  consistency: CacheConsistency,
  timeoutMs: number,
): Promised {
  const { strictLeaseMs = STRICT_LEASE_MS_DEFAULT, deferredInvalidation = false } = given;
  assertNumber('strictLeaseMs', strictLeaseMs, { min: 1 });
  const isStrict = consistency === 'strict';
  const isTold = consistency === 'tracked' || consistency === 'notified';
  const localTtlMsDefaults: Readonly<Partial<Record<CacheConsistency, number>>> = {
    strict: strictLeaseMs,
    notified: NOTIFIED_TTL_MS_DEFAULT,
    tracked: Number.MAX_SAFE_INTEGER,
  };
  const { localTtlMs = localTtlMsDefaults[consistency] ?? LOCAL_TTL_MS_DEFAULT } = given;
  assertTtlMs(localTtlMs, 'localTtlMs');
  const { outageTtlMs = isTold || isStrict ? 0 : localTtlMs } = given;
  assertNumber('outageTtlMs', outageTtlMs, { min: 0 });
  if (isStrict) {
    assertNumber('localTtlMs', localTtlMs, { min: 1, max: strictLeaseMs });
    assertNumber('outageTtlMs', outageTtlMs, { min: 0, max: 0 });
    if (strictDelayMs(strictLeaseMs) >= timeoutMs) {
      const remedy = `so little that a write, which waits ${strictDelayMs(strictLeaseMs)} ms, is done within timeoutMs`;
      throw invalidArgument('strictLeaseMs', strictLeaseMs, remedy);
    }
    if (deferredInvalidation !== false) {
      const remedy = "false with consistency 'strict': what waits in a process is not acknowledged";
      throw invalidArgument('deferredInvalidation', deferredInvalidation, remedy);
    }
  }
  const last = given.tiers.at(-1);
  const isSynced = consistency === 'lease' && last?.scope === 'shared' && last.lags === true;
  return { consistency, isSynced, localTtlMs, outageTtlMs, strictLeaseMs };
}
