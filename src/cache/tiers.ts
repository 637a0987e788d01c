import type { Clock } from '../core/clock.js';
import type { Random } from '../core/random.js';
import type { StandardSchema } from '../core/standard-schema.js';
import { type Authority, authority as authorityOver } from './authority.js';
import type { BreakerPolicy } from './breaker.js';
import type { CacheConsistency } from './cache.js';
import { cacheEvicted, cacheFallback } from './diagnostics.js';
import type { CacheDriver, CacheNode, LocalStore, ProcessTier, SharedTier } from './driver.js';
import type { AgingPolicy } from './lifetime.js';
import { type Survived, survived } from './outage.js';
import { type CacheTierStats, hitRateOf, newTierCounter, type TierCounter } from './stats.js';
import { tierCalls } from './tier-calls.js';
import { trackedStore } from './tracked-store.js';
import type { CacheValues } from './values.js';

/** Options of `createCache`, checked and completed. */
export interface CacheSettings {
  readonly name: string;
  readonly tiers: readonly CacheDriver[];
  readonly ttlMs: number;
  readonly localTtlMs: number;
  readonly timeoutMs: number;
  readonly tierTimeoutMs: number;
  readonly leaseMs: number;
  readonly consistency: CacheConsistency;
  /** Every read waits for the tier to catch up. */
  readonly isSynced: boolean;
  /** With `strict`: how long a copy in memory lives at most. */
  readonly strictLeaseMs: number;
  readonly aging: AgingPolicy;
  /** Undefined: the shared tier is asked whatever it did before. */
  readonly breaker: BreakerPolicy | undefined;
  /** Undefined: what did not reach the shared tier is told to its writer. */
  readonly deferral: { readonly keysMax: number } | undefined;
  /** For how long memory keeps what was loaded while the shared tier did not answer. */
  readonly outageTtlMs: number;
  /** Undefined: that there is no value is not kept. */
  readonly negativeTtlMs: number | undefined;
  readonly softTimeoutMs: number | undefined;
  readonly errorBackoffMs: number;
  /** Undefined: no hit is compared. */
  readonly audit: { readonly sample: number } | undefined;
  /** Undefined: every value of a shared tier fits. */
  readonly schema: StandardSchema<unknown> | undefined;
  readonly values: CacheValues;
  readonly clock: Clock;
  readonly random: Random;
}

/** The open tiers of one cache, by the part they play. */
export interface CacheTiers {
  /** The farthest tier, which orders all writes. */
  readonly authority: Authority;
  /** The same, without invalidations that wait in this process: what it acknowledges is done. */
  readonly direct: Authority;
  /** What answers at once: the memory of this process, whether before the authority or itself. */
  readonly front: { readonly store: LocalStore; readonly counter: TierCounter } | undefined;
  /** The memory before the authority; undefined when there is none, or it is the authority. */
  readonly near: LocalStore | undefined;
  stats(): CacheTierStats[];
  close(): Promise<void>;
}

interface OpenTier {
  readonly tier: SharedTier | ProcessTier;
  readonly counter: TierCounter;
}

/** Opens the tiers; sends nothing, except that a tracked one begins to listen. */
export function openTiers(settings: CacheSettings): CacheTiers {
  const { leaseMs, schema, values } = settings;
  const open = settings.tiers.map((driver) => openTier(settings, driver));
  const [first] = open;
  const last = open.at(-1);
  if (first === undefined || last === undefined) throw new TypeError('a cache needs a tier');
  const front =
    first.tier.scope === 'process'
      ? { store: first.tier.local, counter: first.counter }
      : undefined;
  const near = open.length > 1 ? nearStore(settings, front?.store, last.tier) : undefined;
  const node = nodeOf(settings, last.counter);
  const isSliding = settings.aging.maxAgeMs !== undefined;
  const withRemaining = near !== undefined || isSliding || isAging(settings);
  // What only writers tell of is not known for good.
  const knownTags = settings.consistency === 'tracked' ? near?.tags : undefined;
  const bare = authorityOver({
    ...{ ...last, node, leaseMs, withRemaining, knownTags, schema, values },
    withNear: near !== undefined,
  });
  const { authority, direct, state } = survived(settings, bare, last.counter);
  return {
    authority,
    direct,
    front,
    near,
    stats: () => open.map((one) => tierStats(one, one === last ? state() : NEVER_OUT)),
    async close() {
      await authority.close();
      await Promise.all(open.slice(0, -1).map(({ tier }) => tier.close()));
    },
  };
}

function openTier(settings: CacheSettings, driver: CacheDriver): OpenTier {
  const counter = newTierCounter(driver.backend);
  const node = nodeOf(settings, counter);
  const isExact = settings.consistency === 'strict' && driver.scope === 'process';
  // Another clock than the machine's own is looked at for every hit.
  const tier = driver.open(isExact ? { ...node, clock: { ...settings.clock } } : node);
  return { tier, counter };
}

function nodeOf(settings: CacheSettings, counter: TierCounter): CacheNode {
  const { name, clock, random, values, consistency } = settings;
  const isStrict = consistency === 'strict';
  const node = { name, clock, random, encoding: values.encoding, isStrict };
  const { failed } = tierCalls(node, counter);
  return {
    ...node,
    onFallback: (error) =>
      cacheFallback.publish(() => ({ cache: name, tier: counter.backend, error })),
    onFailure: (operation, error) => void failed(operation, undefined, error),
    onEvicted: (key) => cacheEvicted.publish(() => ({ cache: name, tier: counter.backend, key })),
  };
}

/** Whether entries have last parts, so that what is left of them must be known. */
export function isAging({ aging }: CacheSettings): boolean {
  return aging.staleMs > 0 || aging.staleIfErrorMs > 0 || aging.earlyRefresh > 0;
}

function nearStore(
  { consistency, outageTtlMs }: CacheSettings,
  store: LocalStore | undefined,
  tier: OpenTier['tier'],
): LocalStore | undefined {
  const isTold = consistency === 'tracked' || consistency === 'notified';
  return isTold && tier.scope === 'shared' && store !== undefined
    ? trackedStore(store, tier, outageTtlMs)
    : store;
}

/** The memory before a shared tier. */
const NEVER_OUT = { breaker: undefined, deferredCount: 0 };

function tierStats(
  { tier, counter }: OpenTier,
  outage: ReturnType<Survived['state']>,
): CacheTierStats {
  const local = tier.scope === 'process' ? tier.local : undefined;
  const { evictionCount = 0, entryCount, byteCount } = local ?? {};
  const state = { ...outage, entryCount, byteCount };
  return { ...counter, ...hitRateOf(counter), evictionCount, ...state };
}
