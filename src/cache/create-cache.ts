import { systemClock } from '../core/clock.js';
import { systemRandom } from '../core/random.js';
import type { StandardSchema } from '../core/standard-schema.js';
import { assertName, assertNumber, assertTtlMs, invalidArgument } from '../core/validate.js';
import type { BreakerPolicy } from './breaker.js';
import type { Cache, CacheKeyOptions, CacheOptions } from './cache.js';
import { consistencyOf, promiseOf } from './consistency.js';
import { insideOf, withInside } from './deck-registry.js';
import type { CacheDriver } from './driver.js';
import { cacheEngine } from './engine.js';
import { keyedCache } from './keyed.js';
import type { AgingPolicy } from './lifetime.js';
import type { CacheSettings } from './tiers.js';
import { valuesOf } from './values.js';

const NAME_BYTES_MAX = 128;
const TIMEOUT_MS_DEFAULT = 5_000;
const HARD_TIMEOUT_MS_DEFAULT = 1_000;
const LEASE_MS_DEFAULT = 3_000;
const LEASE_MS_MIN = 100;
const ERROR_BACKOFF_MS_DEFAULT = 1_000;
const DEFERRED_KEYS_DEFAULT = 10_000;
const DEFERRED_KEYS_MAX = 1_000_000;
const JITTER_MAX = 0.9;
/** A thousand years. */
const MAX_AGE_MS_MAX = 31_557_600_000_000;
const EARLY_REFRESH_MAX = 100;

/**
 * A cache over one or two tiers.
 *
 * ```ts
 * const catalog = createCache<Product>({
 *   name: 'catalog',
 *   tiers: [memoryCache({ entriesMax: 10_000 }), redisCache({ client: redis })],
 *   ttlMs: 60_000,
 * });
 * const product = await catalog.getOrLoad('sku:42', ({ signal }) => findProduct('sku:42', { signal }));
 * ```
 *
 * Sends nothing: it succeeds also while a server is down.
 *
 * @throws TypeError (INVALID_ARGUMENT) for options out of their bounds, and for tiers other than one,
 * or a process's memory before one shared tier.
 */
export function createCache<Value>(options: CacheOptions<Value>): Cache<Value>;
export function createCache<Value, Key>(
  options: CacheOptions<Value> & CacheKeyOptions<Key>,
): Cache<Value, Key>;
export function createCache<Value, Key>(
  options: CacheOptions<Value> & Partial<CacheKeyOptions<Key>>,
): Cache<Value> | Cache<Value, Key> {
  const { keyOf, ...given } = options;
  const cache = cacheEngine<Value>(validated(given));
  if (keyOf === undefined) return cache;
  const inside = insideOf(cache);
  const keyed = keyedCache(cache, keyOf);
  if (inside === undefined) return keyed;
  const { deck, put } = inside;
  return withInside(keyed, {
    deck,
    put: async (key, ...rest) => put(keyOf(key as Key), ...rest),
  });
}

function validated(options: CacheOptions): CacheSettings {
  const { clock = systemClock, random = systemRandom, ...given } = options;
  const { name, ttlMs, timeoutMs = TIMEOUT_MS_DEFAULT, leaseMs = LEASE_MS_DEFAULT } = given;
  assertName('name', name, NAME_BYTES_MAX);
  assertTtlMs(ttlMs);
  assertNumber('timeoutMs', timeoutMs, { min: 1 });
  assertNumber('leaseMs', leaseMs, { min: LEASE_MS_MIN });
  const { hardTimeoutMs = Math.min(timeoutMs, HARD_TIMEOUT_MS_DEFAULT) } = given;
  assertNumber('hardTimeoutMs', hardTimeoutMs, { min: 1, max: timeoutMs });
  assertTiers(given.tiers);
  const { tiers } = given;
  const promise = promiseOf(given, consistencyOf(tiers, given.consistency), timeoutMs);
  const aging = agingOf(given);
  const { negativeTtlMs, softTimeoutMs, errorBackoffMs = ERROR_BACKOFF_MS_DEFAULT } = given;
  if (negativeTtlMs !== undefined) assertTtlMs(negativeTtlMs, 'negativeTtlMs');
  if (softTimeoutMs !== undefined) assertNumber('softTimeoutMs', softTimeoutMs, { min: 1 });
  assertNumber('errorBackoffMs', errorBackoffMs, { min: 0 });
  const ages = { aging, negativeTtlMs, softTimeoutMs, errorBackoffMs };
  const times = { ttlMs, timeoutMs, tierTimeoutMs: hardTimeoutMs, leaseMs };
  const outage = { breaker: breakerOf(given), deferral: deferralOf(given) };
  const schema = schemaOf(given);
  const { codec, isolation } = given;
  const isShared = tiers.at(-1)?.scope === 'shared';
  const { audit } = given;
  if (audit !== undefined) assertAudit(audit, tiers);
  const checks = { audit, schema, values: valuesOf({ codec, isolation, isShared }) };
  return { name, tiers, ...promise, ...checks, clock, random, ...ages, ...times, ...outage };
}

function schemaOf({ schema }: Partial<CacheOptions>): CacheSettings['schema'] {
  const standard = (schema as Partial<StandardSchema<unknown>> | undefined)?.['~standard'];
  if (schema === undefined || typeof standard?.validate === 'function') return schema;
  throw invalidArgument('schema', schema, 'a schema with the Standard Schema interface');
}

function breakerOf({ breaker }: Partial<CacheOptions>): BreakerPolicy | undefined {
  if (breaker === false) return undefined;
  const { failureRatio = 0.5, callsMin = 5, windowMs = 10_000, openMs = 1_000 } = breaker ?? {};
  const policy = { failureRatio, callsMin, windowMs, openMs };
  assertNumber('breaker.failureRatio', policy.failureRatio, { min: 0.001, max: 1 });
  assertNumber('breaker.callsMin', policy.callsMin, { min: 1, max: 1_000, integer: true });
  assertNumber('breaker.windowMs', policy.windowMs, { min: 1 });
  assertNumber('breaker.openMs', policy.openMs, { min: 1 });
  return policy;
}

function deferralOf({
  deferredInvalidation = false,
}: Partial<CacheOptions>): CacheSettings['deferral'] {
  if (deferredInvalidation === false) return undefined;
  const { keysMax = DEFERRED_KEYS_DEFAULT } =
    deferredInvalidation === true ? {} : deferredInvalidation;
  const bounds = { min: 1, max: DEFERRED_KEYS_MAX, integer: true };
  assertNumber('deferredInvalidation.keysMax', keysMax, bounds);
  return { keysMax };
}

function agingOf(given: Partial<CacheOptions>): AgingPolicy {
  const { staleMs = 0, staleIfErrorMs = 0, jitter = 0, earlyRefresh = 0, sliding } = given;
  assertNumber('staleMs', staleMs, { min: 0 });
  assertNumber('staleIfErrorMs', staleIfErrorMs, { min: 0 });
  assertNumber('jitter', jitter, { min: 0, max: JITTER_MAX });
  assertNumber('earlyRefresh', earlyRefresh, { min: 0, max: EARLY_REFRESH_MAX });
  const maxAgeMs = sliding?.maxAgeMs;
  if (sliding !== undefined) {
    const bounds = { min: given.ttlMs ?? 1, max: MAX_AGE_MS_MAX };
    assertNumber('sliding.maxAgeMs', maxAgeMs as number, bounds);
  }
  return { staleMs, staleIfErrorMs, jitter, earlyRefresh, maxAgeMs };
}

function assertAudit({ sample }: { readonly sample: number }, tiers: readonly unknown[]): void {
  assertNumber('audit.sample', sample, { min: Number.MIN_VALUE, max: 1 });
  if (tiers.length > 1) return;
  throw invalidArgument('audit', { sample }, 'nothing, or memoryCache() before a shared tier');
}

function assertTiers(tiers: unknown): asserts tiers is readonly CacheDriver[] {
  const remedy = 'one tier, or a process tier such as memoryCache() before a shared one';
  const drivers = Array.isArray(tiers) ? (tiers as Partial<CacheDriver>[]) : [];
  const isDriver = (driver: Partial<CacheDriver> | undefined): boolean =>
    typeof driver?.open === 'function' && typeof driver.backend === 'string';
  const scopes = drivers.map((driver) => (isDriver(driver) ? driver.scope : undefined)).join(', ');
  if (!['process', 'shared', 'process, shared'].includes(scopes)) {
    throw invalidArgument('tiers', tiers, remedy);
  }
}
