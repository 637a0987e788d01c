import type { Validity } from '../core/clock.js';
import { CoordinationError } from '../core/errors.js';
import { paddedFencingToken } from '../core/fencing-token.js';
import type { StandardSchema } from '../core/standard-schema.js';
import { lease } from './authority-leases.js';
import { asItIs, type Form, type Parts, read, touch } from './authority-reads.js';
import { decoded } from './decoded.js';
import { type CacheStoredEvent, cacheStored } from './diagnostics.js';
import type {
  CacheNode,
  Claim,
  FencedBounds,
  LeaseTier,
  LocalTags,
  LocalValue,
  ProcessTier,
  SharedTier,
} from './driver.js';
import { type Isolated, inMemory } from './isolation.js';
import type { TierCounter } from './stats.js';
import { type StrictCalls, strictCalls } from './strict-calls.js';
import { type TagCalls, tagCalls } from './tag-calls.js';
import { type Failed, type TierCalls, tierCalls, unlessStale } from './tier-calls.js';
import type { CacheValues } from './values.js';

/** A value that the authority has, valid from before it was asked. */
export interface Found {
  readonly state: 'found';
  readonly local: LocalValue;
  readonly validity: Validity;
  /** A writer is about to change it: it is answered, and not kept. */
  readonly isHeld?: boolean | undefined;
}

/** The answer to a read: outdated is an entry of which a tag was invalidated. */
export type ReadAnswer = Found | { readonly state: 'missing' | 'outdated' };

/** The answer of a tier that has caught up. */
export interface Synced {
  readonly state: 'synced';
}

/** What a question came to that must not hurt its caller. */
export type Answer<Reply> = Reply | Failed;

/** The answer to a request for a lease. */
export type LeaseAnswer =
  | Found
  | { readonly state: 'leader'; readonly epoch?: string | undefined }
  | { readonly state: 'held' | 'outdated' }
  | { readonly state: 'follower'; readonly remainingMs: number };

/**
 * The farthest tier of a cache, which orders all writes: its calls in values instead of texts, with
 * failures as answers where a read can go on without it, and as CACHE_TIER_UNREACHABLE where a
 * writer must know.
 */
export interface Authority {
  readonly isShared: boolean;
  /** Where entries can have tags. */
  readonly tags: TagCalls | undefined;
  /** Where a strict cache can write. */
  readonly strict: StrictCalls | undefined;
  /** `isCounted: false` for what is no request of a caller. */
  read(key: string, timeoutMs: number, isCounted?: boolean): Promise<Answer<ReadAnswer>>;
  /** The same for hot paths: what `finish` makes of the answer, without a promise for it. */
  readThen<Result>(
    key: string,
    timeoutMs: number,
    isCounted: boolean,
    finish: (answer: Answer<ReadAnswer>) => Result,
  ): Promise<Result>;
  /** Afterwards reads see what was acknowledged before; undefined: they do anyway. */
  readonly sync: ((timeoutMs: number) => Promise<Answer<Synced>>) | undefined;
  /** Whether a lease may be asked for without a look before. */
  readonly leasesAtOnce: boolean;
  /**
   * With `refresh` for the right to replace the entry that is there. `isCounted: true` where it stands
   * for the read of a caller.
   */
  lease(
    key: string,
    token: string,
    timeoutMs: number,
    refresh?: boolean,
    isCounted?: boolean,
  ): Promise<Answer<LeaseAnswer>>;
  /** Stores what the holder of the lease has loaded; undefined ends the lease without an entry. */
  fill(key: string, token: string, entry: Fill, timeoutMs: number): Promise<FillAnswer>;
  renew(key: string, claim: Claim, timeoutMs: number): Promise<'held' | 'lost' | 'failed'>;
  /** Resolves when the lease may have ended; see `LeaseTier.changed`. */
  changed(key: string, signal: AbortSignal): Promise<void>;

  /** Writes reject with FENCE_STALE when another one came with a newer fencing token. */
  seize(key: string, token: string, timeoutMs: number, fence?: bigint): Promise<'leader' | 'held'>;
  store(
    key: string,
    token: string,
    entry: Fill,
    timeoutMs: number,
  ): Promise<'accepted' | 'refused'>;
  hold(key: string, token: string, timeoutMs: number, fence?: bigint): Promise<void>;
  invalidate(
    key: string,
    holdToken: string | undefined,
    timeoutMs: number,
    fence?: bigint,
  ): Promise<void>;
  /** Lets the entry with this mark last so long from now, if that is longer. */
  extend(
    key: string,
    ttlMs: number,
    mark: string,
    timeoutMs: number,
  ): Promise<'extended' | 'unchanged' | 'failed'>;
  /** Lets an entry last so long from now; false: there is none. */
  touch(key: string, ttlMs: number, timeoutMs: number): Promise<boolean>;
  clear(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

/** What a load or a writer wants stored. */
export interface Fill {
  readonly value: Isolated | undefined;
  readonly ttlMs: number;
}

export type FillAnswer = 'accepted' | 'refused' | 'failed';

/** What an authority is made of. */
export interface AuthorityOptions {
  readonly node: CacheNode;
  readonly tier: SharedTier | ProcessTier;
  readonly counter: TierCounter;
  readonly leaseMs: number;
  /** Whether the time that is left of entries is needed, for a tier before this one. */
  readonly withRemaining: boolean;
  /** Whether a tier before this one keeps values in memory. */
  readonly withNear: boolean;
  /** Versions of tags that this process is told of; undefined: the tier is asked. */
  readonly knownTags: LocalTags | undefined;
  /** How values stand in a shared tier. */
  readonly values: CacheValues;
  /** What values of a shared tier must fit. */
  readonly schema?: StandardSchema<unknown> | undefined;
}

/** The calls of a tier, whichever kind it is. */
export function authority(options: AuthorityOptions): Authority {
  const { tier } = options;
  return tier.scope === 'shared'
    ? authorityOver<string>(options, tier, textForm(options))
    : authorityOver<LocalValue>(options, tier, {
        encode: inMemory,
        decode: (_, stored) => stored,
      });
}

/** How values stand as texts. What stays in this process's memory need not be remembered twice. */
function textForm({ values, withNear }: AuthorityOptions): Form<string> {
  const { encode, decode } = values;
  if (withNear || !values.isFrozen) return { encode, decode };
  const known = decoded();
  return {
    encode,
    decode(where, text, key) {
      const before = known.get(key, text);
      if (before !== undefined) return before;
      const local = decode(where, text);
      if (local.isShareable && typeof local.value === 'object') known.put(key, text, local);
      return local;
    },
    forget: known.forget,
  };
}

function authorityOver<Stored>(
  options: AuthorityOptions,
  tier: LeaseTier<Stored>,
  form: Form<Stored>,
): Authority {
  const { node, counter, leaseMs } = options;
  const { ask, demand, failed } = tierCalls(node, counter);
  const isShared = options.tier.scope === 'shared';
  const tags = tagCalls({ ...options, ask, demand, tags: tier.tags });
  // The entries of memory are compared with the tags of memory by the store itself.
  const areCurrent = isShared ? tags?.areCurrent : undefined;
  const schema = isShared ? options.schema : undefined;
  const check = schema && { cache: node.name, counter, schema, take: options.values.take };
  const parts = { ...options, tier, form, failed, areCurrent, check };

  const { strict: strictTier } = options.tier as Partial<SharedTier>;

  return {
    isShared,
    tags,
    strict: strictCalls({
      strict: strictTier,
      renew: (...given) => tier.renew(...given),
      ask,
      demand,
      encode: options.values.encode,
      fencing: (fence) => fencing(parts, fence),
      onStored: (key, fill) => told(parts, key, fill, 'set'),
    }),
    read: (key, timeoutMs, isCounted = true) => read(parts, { key, timeoutMs, isCounted }, asItIs),
    readThen: (key, timeoutMs, isCounted, finish) =>
      read(parts, { key, timeoutMs, isCounted }, finish),
    sync: syncing(options.tier, ask),
    leasesAtOnce: isShared && tier.leasesAtOnce === true,
    lease: (key, token, timeoutMs, refresh, isCounted) =>
      lease(parts, leaseMs, { key, token, timeoutMs, refresh, isCounted }),
    fill: (key, token, entry, timeoutMs) =>
      settle(parts, key, token, entry, timeoutMs).then(
        (reply) => {
          if (reply === 'refused') return 'refused';
          told(parts, key, entry, 'load');
          return 'accepted';
        },
        (error) => {
          failed('fill', key, error);
          return 'failed';
        },
      ),
    async renew(key, claim, timeoutMs) {
      const call = () => tier.renew(key, claim, leaseMs, { timeoutMs });
      const answer = await ask('renew', key, call);
      return typeof answer === 'string' ? answer : 'failed';
    },
    changed: (key, signal) => tier.changed(key, signal),
    async seize(key, token, timeoutMs, fence) {
      const fenced = fencing(parts, fence);
      const reply = await demand('seize', key, timeoutMs, (bounds) =>
        tier.seize(key, token, leaseMs, { ...bounds, ...fenced }),
      );
      return unlessStale(reply, key, fence);
    },
    async store(key, token, entry, timeoutMs) {
      const answer = await demand('store', key, timeoutMs, (bounds) =>
        settle(parts, key, token, entry, bounds.timeoutMs),
      );
      if (answer === 'refused') return 'refused';
      told(parts, key, entry, 'set');
      return 'accepted';
    },
    async hold(key, token, timeoutMs, fence) {
      const fenced = fencing(parts, fence);
      const reply = await demand('hold', key, timeoutMs, (bounds) =>
        tier.hold(key, token, leaseMs, { ...bounds, ...fenced }),
      );
      unlessStale(reply, key, fence);
    },
    async invalidate(key, holdToken, timeoutMs, fence) {
      const fenced = fencing(parts, fence);
      const reply = await demand('invalidate', key, timeoutMs, (bounds) =>
        tier.invalidate(key, holdToken, { ...bounds, ...fenced }),
      );
      unlessStale(reply, key, fence);
    },
    async extend(key, ttlMs, mark, timeoutMs) {
      const answer = await ask('extend', key, () => tier.extend(key, ttlMs, mark, { timeoutMs }));
      return typeof answer === 'string' ? answer : 'failed';
    },
    touch: (key, ttlMs, timeoutMs) => touch(parts, demand, key, { ttlMs, timeoutMs }),
    async clear(timeoutMs) {
      form.forget?.();
      await demand('clear', undefined, timeoutMs, (bounds) => tier.clear(bounds));
    },
    async close() {
      form.forget?.();
      await tier.close();
    },
  };
}

function syncing(tier: AuthorityOptions['tier'], ask: TierCalls['ask']): Authority['sync'] {
  const sync = tier.scope === 'shared' ? tier.sync : undefined;
  if (sync === undefined) return undefined;
  return (timeoutMs) =>
    ask('sync', undefined, async () => {
      await sync({ timeoutMs });
      return { state: 'synced' };
    });
}

/** A writer's fencing token as the tiers compare it. */
function fencing<Stored>(
  { tier, counter }: Parts<Stored>,
  fence: bigint | undefined,
): Pick<FencedBounds, 'fence'> {
  if (fence === undefined) return {};
  if (tier.fences) return { fence: paddedFencingToken(fence) };
  const found = 'no fencing tokens';
  const needed = 'memoryCache() or redisCache() as the last tier, or no fencingToken';
  const message = `${counter.backend} compares no fencing tokens; needed is ${needed}`;
  const details = { backend: counter.backend, setting: 'fencingToken', found, needed };
  throw new CoordinationError('BACKEND_UNSUPPORTED', message, details);
}

/** Publishes what was stored. */
function told<Stored>(
  { node, counter }: Parts<Stored>,
  key: string,
  { value, ttlMs }: Fill,
  by: CacheStoredEvent['by'],
): void {
  if (value === undefined) return;
  cacheStored.publish(() => ({ cache: node.name, tier: counter.backend, key, by, ttlMs }));
}

/** Ends a lease, with an entry or without; no promise but the tier's own. */
function settle<Stored>(
  { tier, form }: Parts<Stored>,
  key: string,
  token: string,
  { value, ttlMs }: Fill,
  timeoutMs: number,
): Promise<'stored' | 'released' | 'refused'> {
  try {
    if (value === undefined) return tier.release(key, token, { timeoutMs });
    return tier.fill(key, token, { stored: form.encode(value), ttlMs }, { timeoutMs });
  } catch (error) {
    return Promise.reject(error);
  }
}
