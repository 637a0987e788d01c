import type { Clock } from '../core/clock.js';
import type { Random } from '../core/random.js';
import type { StandardSchema } from '../core/standard-schema.js';
import type { CacheBreakerOptions } from './breaker.js';
import type { Codec } from './codec-types.js';
import type { CacheDriver } from './driver.js';
import type { CacheIsolation } from './isolation.js';
import type { CacheStats } from './stats.js';
import type { WrapOptions, Wrapped } from './wrap.js';

/**
 * What other nodes see after a write was acknowledged.
 *
 * | | a read on another node that begins afterwards | needs |
 * |---|---|---|
 * | `strict` | never answers an older value, nor does one that begins after another was answered the new one; a hit in memory asks nobody. Each write waits `strictLeaseMs` | `redisCache`, with or without memory before it |
 * | `lease` | never answers an older value | one tier |
 * | `sequential` | may answer an older value until a watch has told, and never goes back | `zookeeperCache` alone, where `lease` costs each read a way to the leader |
 * | `tracked` | may answer an older value until the news has come: the way of one message, and two seconds at most when the connection that hears it is cut off | memory before a tier that tells of changes: `redisCache` |
 * | `notified` | may answer an older value until its writer's message has come: the way of one message, and three seconds at most when some of its messages are lost. Of what nobody told (a change by other means than a cache with `news`, all messages of one process lost, a refresh, an entry that Redis evicted and that was loaded anew) for `localTtlMs` | memory before `redisCache` with `news: 'bus'` or `'auto'`, where the server refuses tracking |
 * | `ttl` | may answer an older value for `localTtlMs` | memory before any shared tier |
 *
 * The node that wrote sees its own write at once, with each of them.
 */
export type CacheConsistency = 'ttl' | 'sequential' | 'lease' | 'tracked' | 'notified' | 'strict';

/** How hits extend entries. */
export interface SlidingOptions {
  /** For how long an entry lives in all, in milliseconds, from when it was stored; at least `ttlMs`. */
  readonly maxAgeMs: number;
}

/** How much may wait for a shared tier that does not answer. */
export interface DeferredInvalidationOptions {
  /** So many keys at most, 1 to 1,000,000; default 10,000. */
  readonly keysMax?: number | undefined;
}

/** Which hits of memory are compared with the shared tier. */
export interface CacheAuditOptions {
  /** What part of them: more than 0, at most 1. */
  readonly sample: number;
}

/** Options of `createCache`. Times are in milliseconds. */
export interface CacheOptions<Value = unknown> {
  /** Names the cache in its backends, metrics and messages: 1 to 128 UTF-8 bytes, well-formed. */
  readonly name: string;
  /**
   * The tiers, nearest first: `memoryCache()`, a shared tier such as `redisCache()`, or the first
   * before the second.
   */
  readonly tiers: readonly CacheDriver[];
  /** How long an entry lives from when it is stored; at least 1. There is no default. */
  readonly ttlMs: number;
  /**
   * How long the process's own copy of an entry of a shared tier lives, from before it was read; at
   * least 1, and never longer than the entry itself. Default: with `tracked` as long as the entry, with
   * `notified` at most 60,000, with `ttl` at most 5,000. Without a shared tier this option has no effect.
   */
  readonly localTtlMs?: number | undefined;
  /**
   * What a read may answer after a write that another node has had acknowledged; see
   * {@link CacheConsistency}. Refused where the tiers cannot give it. Default: the strongest that they
   * can give.
   */
  readonly consistency?: CacheConsistency | undefined;
  /**
   * With `strict`: how long a copy in a process's memory lives at most, counted from before its request;
   * at least 1. Every write (`set`, `delete`, `update`, `invalidateTag`, `clear`, the prepare of a
   * transaction) waits about 2 % longer within its own `timeoutMs`, so that no copy from before it is
   * left; reads of its key meanwhile ask the shared tier. The same for all nodes: to raise it, let the
   * nodes that write have the new one first. Default 1,000.
   */
  readonly strictLeaseMs?: number | undefined;
  /** How long a call may take, the loader included, unless the call says; at least 1. Default 5,000. */
  readonly timeoutMs?: number | undefined;
  /**
   * The shared tier's slice of a read's time: how long it waits for that tier, in all, before it goes
   * on without; at least 1. Default 1,000, at most `timeoutMs`. Waiting for another node's load does
   * not count. Writes wait for the tier as long as their call may take.
   */
  readonly hardTimeoutMs?: number | undefined;
  /**
   * The circuit breaker of the shared tier: when most calls fail or are not answered in time, reads go
   * by without waiting for it, until one that is let through finds it well. Writes ask always. Default:
   * the defaults of {@link CacheBreakerOptions}; `false` for none.
   */
  readonly breaker?: CacheBreakerOptions | false | undefined;
  /**
   * What becomes of a `set`, `delete`, `update`, `invalidateTag` or `clear` that the shared tier does not acknowledge
   * within `hardTimeoutMs`. By default its call rejects with CACHE_TIER_UNREACHABLE. With `true` it
   * resolves, and the invalidation waits in this process, is sent again until it is acknowledged, and
   * until then this process neither reads the key from the tier nor stores anything under it; after
   * `invalidateTag` and `clear` no key. Other
   * processes may read the old value meanwhile; and when this one dies, what waited is lost. A value
   * that was to be set is not kept. At most `keysMax` keys wait (1 to 1,000,000, default 10,000);
   * a further write rejects again, and so does every write with a `fencingToken`.
   */
  readonly deferredInvalidation?: boolean | DeferredInvalidationOptions | undefined;
  /**
   * For how long memory keeps what a loader found while the shared tier did not answer: by so much it
   * may be old, as nobody tells of a change. Default: with `tracked` and `notified` 0,
   * not at all; with `ttl` as `localTtlMs`.
   */
  readonly outageTtlMs?: number | undefined;
  /**
   * Stale-while-revalidate: for how long after its `ttlMs` an entry is still answered by `getOrLoad`,
   * at once, while one node loads it anew in the background. Default 0.
   */
  readonly staleMs?: number | undefined;
  /**
   * Stale-if-error: for how long after its `ttlMs` an entry is answered by `getOrLoad` when the loader
   * fails, or has not answered within `softTimeoutMs` or the call's own time. Default 0.
   */
  readonly staleIfErrorMs?: number | undefined;
  /**
   * How long `getOrLoad` waits for a load before it answers what `staleIfErrorMs` allows; the load goes
   * on. At least 1; default: as long as the call may take.
   */
  readonly softTimeoutMs?: number | undefined;
  /**
   * After a failed load of a key that has a stale entry, this process answers the stale one for so long
   * without trying again. Default 1,000.
   */
  readonly errorBackoffMs?: number | undefined;
  /**
   * Negative caching: for how long it is kept that the loader found nothing (`undefined`). Default:
   * not at all.
   */
  readonly negativeTtlMs?: number | undefined;
  /**
   * By which part of it, at most, each `ttlMs` is shortened by chance, so that what was stored together
   * does not end together: 0 to 0.9, default 0.
   */
  readonly jitter?: number | undefined;
  /**
   * Sliding expiry: a hit of any node lets the entry live for its `ttlMs` from then on, and for
   * `maxAgeMs` in all from when it was stored; at least `ttlMs`. The end moves in the background and at
   * most once in a quarter of `ttlMs` for each process, so an entry that is hit may still end up to a
   * quarter early. `maxAgeMs` is counted by the processes' own clocks, and exact as far as they agree.
   * Default: hits extend nothing.
   */
  readonly sliding?: SlidingOptions | undefined;
  /**
   * How eagerly an entry that is still good is loaded anew in the background: the refresh begins about
   * so many load times before its end. 0 to 100; 0, the default, never.
   */
  readonly earlyRefresh?: number | undefined;
  /**
   * How long the lease of a load, and the hold of an update, outlives the death of its process; at
   * least 100. It is renewed at a third while the work goes on. Default 3,000.
   */
  readonly leaseMs?: number | undefined;
  /**
   * What values look like, as a Standard Schema (zod, valibot, arktype and others): the cache's type is
   * inferred from it. It is asked where foreign data enters, on each read of a shared tier, and not for
   * what a loader or a writer of this process gives, nor for memory. An entry that does not fit is a
   * miss, told by `tricord:cache.schema-mismatch` and `schemaMismatchCount`, and the next load takes its
   * place. Readers get what the schema makes of a value, so it must fit what it made itself.
   * Default: every value fits.
   */
  readonly schema?: StandardSchema<Value> | undefined;
  /**
   * How values stand in a shared tier, for all processes alike: `v8Codec`, `compressed(…)`, or one's own
   * {@link Codec}. An entry of another codec, or one that cannot be decoded, is a miss, told by
   * `tricord:cache.unreadable` and `unreadableCount`, and the next load takes its place. What memory
   * keeps has passed the codec as well, unless `isolation` is `none`. Default `jsonCodec`.
   */
  readonly codec?: Codec | undefined;
  /**
   * Whether readers share the cache's own copy, frozen, get copies, or share the very object; see
   * {@link CacheIsolation}. It says nothing to other processes. Default `frozen`.
   */
  readonly isolation?: CacheIsolation | undefined;
  /**
   * Compares a part of the hits of this process's memory with the shared tier, in the background: two at
   * once at most, never before the hit is answered, and twice within 100 ms where they differ, as news
   * may be on its way. `stats()` counts them (`auditedCount`, `inconsistentCount` of the memory's tier)
   * and `tricord:cache.inconsistent` names the keys. `sample` is more than 0 and at most 1. Refused
   * without memory before a shared tier. Default: off.
   */
  readonly audit?: CacheAuditOptions | undefined;
  /** The source of time. Default: the machine's. */
  readonly clock?: Clock | undefined;
  /** The source of chance. Default: the machine's. */
  readonly random?: Random | undefined;
}

/** For keys of another type than text. */
export interface CacheKeyOptions<Key> {
  /**
   * The text under which a key is known to every node: the same for equal keys, another one for
   * others. `stableKey` serves for plain data.
   */
  readonly keyOf: (key: Key) => string;
}

/** Options of every asynchronous call. */
export interface CacheCallOptions {
  /** How long the call may take, in milliseconds. Default: the cache's. */
  readonly timeoutMs?: number | undefined;
  /** Ends the call with the signal's own reason. What was sent already may still take effect. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of reads. */
export interface CacheReadOptions {
  /**
   * `linearizable`: the read sees every write that was acknowledged before it began, whichever node
   * made it. It passes by this process's copies and asks the shared tier; ZooKeeper's, through the
   * leader. Where the tier cannot be reached it finds nothing. Default: what the cache promises.
   */
  readonly consistency?: 'linearizable' | undefined;
}

/** Options of calls that store. */
export interface CacheWriteOptions extends CacheCallOptions {
  /** How long this entry lives, in milliseconds. Default: the cache's. */
  readonly ttlMs?: number | undefined;
  /**
   * What this entry is invalidated by, beside its key: at most 64 tags of 1 to 256 UTF-8 bytes.
   * Default none. Refused with BACKEND_UNSUPPORTED where the last tier has no tags.
   */
  readonly tags?: readonly string[] | undefined;
}

/** Options of writes under a lock. */
export interface CacheFencedOptions {
  /**
   * The `fencingToken` of the lease under which this is written: a bigint or its decimal text. A write
   * with an older one than the key has seen within the last day is refused with FENCE_STALE, in the
   * same step; writes without one are not compared. Memory and Redis compare; with another last tier
   * it is refused with BACKEND_UNSUPPORTED, before anything is sent.
   */
  readonly fencingToken?: bigint | string | undefined;
}

/** Options of `update`. */
export interface CacheUpdateOptions<Value> extends CacheWriteOptions, CacheFencedOptions {
  /**
   * What the key has once `commit` has succeeded, for `ttlMs` and with `tags`. Default: nothing is
   * stored, and the next read loads.
   */
  readonly value?: Value | undefined;
}

/** What a loader is given. */
export interface LoadContext {
  /** The key whose value is wanted. */
  readonly key: string;
  /** Aborted when every caller that waits for this load has gone, and when the cache closes. */
  readonly signal: AbortSignal;
  /** The entry that is too old, where one is kept; undefined where there is none. */
  readonly stale: unknown;
  /** The entry lives so long instead, in milliseconds; at least 1. */
  setTtl(ttlMs: number): void;
  /**
   * The entry is invalidated by these tags too, beside those of the call; see
   * {@link CacheWriteOptions}.
   */
  setTags(tags: readonly string[]): void;
  /** What is found is answered to those who wait, and not stored. */
  doNotStore(): void;
}

/** Finds a value at its source. `undefined` means that there is none; `null` is a value. */
export type Loader<Result> = (context: LoadContext) => Result | Promise<Result>;

/** What a loader of several keys is given. */
export interface LoadManyContext<Key = string> {
  /** Aborted when nobody waits for any of the keys any more, and when the cache closes. */
  readonly signal: AbortSignal;
  /** What concerns one of the keys: `setTtl`, `setTags`, `doNotStore`, `stale`. */
  of(key: Key): LoadContext;
}

/** Finds several values at their source: a Map, or pairs of key and value, of those that there are. */
export type ManyLoader<Value, Key = string> = (
  keys: readonly Key[],
  context: LoadManyContext<Key>,
) =>
  | Iterable<readonly [key: Key, value: Value]>
  | Promise<Iterable<readonly [key: Key, value: Value]>>;

/**
 * A cache of values of one type, by key.
 *
 * Keys are well-formed texts of 1 to 1,024 UTF-8 bytes, whatever characters they hold. Values are
 * plain data: what JSON carries, and Date, bigint, Map, Set, `undefined` inside, NaN, the infinities,
 * -0, Uint8Array and Buffer, exactly and from every tier alike; anything else is refused with
 * CACHE_VALUE_UNSUPPORTED and the path to it. `undefined` itself means "not found", and `null` is a
 * value.
 *
 * What is kept is the cache's own copy. Objects and arrays that a read answers are frozen; where a
 * Date, Map, Set or byte array is among them, each reader gets a copy of its own. So neither the
 * writer nor a reader can change what is cached. Other values are carried by another `codec`, other
 * rules for copies are those of `isolation`.
 *
 * **What a read promises.** With a shared tier alone, or the process's memory alone: a read that
 * begins after a `set`, `delete` or `update` was acknowledged never answers an older value; a load
 * that began before it is refused its place (leases: Nishtala et al., NSDI 2013). With memory before
 * a shared tier: the same on the node that wrote; for other nodes see {@link CacheConsistency}. A fail-over of the shared tier to a replica that lagged behind, or a writer that dies
 * between its commit and the invalidation, leaves old values until their TTL; `update` closes the
 * second gap.
 *
 * **When the shared tier is down**, reads go on after `hardTimeoutMs` with the loader, and at once when
 * its breaker has opened; memory keeps what was loaded for `outageTtlMs`. Writes reject with CACHE_TIER_UNREACHABLE: then it is unknown whether
 * they took effect.
 *
 * Every call rejects with TypeError (INVALID_ARGUMENT) for bad arguments and with CLOSED after
 * `close`, before anything is sent.
 */
export interface Cache<Value, Key = string> {
  /** The name that the cache was created with. */
  readonly name: string;
  /**
   * The value of a key, or undefined; never a stale one. Answers undefined also when the shared tier cannot be reached;
   * `stats` and the channel `tricord:cache.tier-failed` tell the difference.
   *
   * @throws CoordinationError UPGRADE_NEEDED for an entry of a newer release.
   */
  get(key: Key, options?: CacheCallOptions & CacheReadOptions): Promise<Value | undefined>;
  /** The value that this process's own memory has, at once; undefined without a memory tier. */
  peek(key: Key): Value | undefined;
  /**
   * Whether there is an entry; false also when the shared tier cannot be reached. Counts in no
   * statistics.
   */
  has(key: Key, options?: CacheCallOptions): Promise<boolean>;
  /** What is there of several keys. Counts as so many requests. */
  getMany(keys: Iterable<Key>, options?: CacheCallOptions): Promise<Map<Key, Value>>;
  /**
   * The value of a key; where there is none, what the loader finds, which is then stored.
   *
   * Callers of one key share one load, in this process and, while the shared tier answers, across
   * nodes: others wait for it for half of their time and then load by themselves. A loader's error
   * reaches every caller that waits, once, and is not stored; neither is `undefined`, unless
   * `negativeTtlMs` says so. A load that a
   * write overtook is not stored and is done again, three times at most. A caller's `signal` ends its
   * own wait; the load's signal is aborted when all have gone.
   *
   * @throws CoordinationError CACHE_TIMEOUT when the time is up and no value was had;
   * CACHE_VALUE_UNSUPPORTED for a value that cannot be stored; and the loader's own error.
   */
  getOrLoad<Result extends Value | undefined>(
    key: Key,
    loader: Loader<Result>,
    options?: CacheWriteOptions & CacheReadOptions,
  ): Promise<Value | Extract<Result, undefined>>;
  /**
   * `getOrLoad` for several keys: one question to each tier, and one call of the loader for the keys
   * that no tier has, each once. What the loader does not answer is not found. Counts as so many
   * requests. A key that another call is loading already, here or on another node, is waited for and
   * not loaded again.
   *
   * Rejects when one of the keys does, with its error; the values of the others are stored.
   */
  getOrLoadMany(
    keys: Iterable<Key>,
    loadMany: ManyLoader<Value, Key>,
    options?: CacheWriteOptions,
  ): Promise<Map<Key, Value>>;
  /**
   * Stores a value. When it resolves, the value has been stored in every tier, or something later
   * took its place.
   *
   * @throws CoordinationError CACHE_TIER_UNREACHABLE, CACHE_VALUE_UNSUPPORTED, FENCE_STALE.
   */
  set(key: Key, value: Value, options?: CacheWriteOptions & CacheFencedOptions): Promise<void>;
  /**
   * Stores several values, each as `set` does, independently of one another.
   *
   * @throws CoordinationError CACHE_TIER_UNREACHABLE with the keys that were not acknowledged.
   */
  setMany(
    entries: Iterable<readonly [key: Key, value: Value]>,
    options?: CacheWriteOptions,
  ): Promise<void>;
  /**
   * Removes an entry, and refuses every load of it that has begun. Call it after the write to the
   * source was committed. It does not tell whether there was one: after a lost reply nobody knows.
   *
   * @throws CoordinationError CACHE_TIER_UNREACHABLE, FENCE_STALE.
   */
  delete(key: Key, options?: CacheCallOptions & CacheFencedOptions): Promise<void>;
  /**
   * Removes several entries, each as `delete` does, independently of one another.
   *
   * @throws CoordinationError CACHE_TIER_UNREACHABLE with the keys that were not acknowledged.
   */
  deleteMany(keys: Iterable<Key>, options?: CacheCallOptions): Promise<void>;
  /**
   * Lets the entry of a key live for `ttlMs` from now, longer or shorter than it had left. Answers
   * whether there was one. Counts in no statistics. Where time is measured in whole seconds, as in
   * Memcached, so is this.
   *
   * @throws CoordinationError CACHE_TIER_UNREACHABLE.
   */
  touch(key: Key, options?: CacheCallOptions & Pick<CacheWriteOptions, 'ttlMs'>): Promise<boolean>;
  /**
   * A function like `fn` whose results this cache keeps, each under the key that `key` makes of the
   * arguments; the results have to be what the cache holds. `invalidate` with the same arguments
   * removes one.
   *
   * ```ts
   * const product = catalog.wrap(findProduct, { key: (sku: string) => `sku:${sku}`, tags: ['products'] });
   * await product('42');
   * await product.invalidate('42');
   * ```
   */
  wrap<Args extends readonly unknown[], Result extends Value | undefined>(
    fn: (...args: Args) => Result | Promise<Result>,
    options: WrapOptions<Args>,
  ): Wrapped<Args, Result>;
  /**
   * Runs a write to the source and invalidates the entry around it, in the safe order: holds the key
   * (the entry is removed, nobody stores), commits, invalidates again and releases. Reads meanwhile
   * go to the source and are not stored. A process that dies in between leaves the key held for
   * `leaseMs`, and no old entry.
   *
   * With `value` it is a write-through: the entry is that value afterwards, unless another write came in
   * between; reads meanwhile wait for it, as they wait for a load.
   *
   * Resolves with what `commit` gives. An error of `commit` is rethrown as it is, after the
   * invalidation. `timeoutMs` bounds the calls to the tiers, each of the two; not `commit`.
   *
   * @throws CoordinationError CACHE_TIER_UNREACHABLE: with `isCommitted: false` before `commit` was
   * called; with `isCommitted: true` after it succeeded, when the last invalidation got no answer.
   * FENCE_STALE before `commit` was called.
   */
  update<Result>(
    key: Key,
    commit: (context: { readonly signal: AbortSignal | undefined }) => Result | Promise<Result>,
    options?: CacheUpdateOptions<Value>,
  ): Promise<Result>;
  /**
   * Invalidates every entry that carries the tag, on every node, and refuses every load that has begun
   * and turns out to carry it. It takes as long for one entry as for a million: the tag's version
   * changes, and entries of another version are misses from then on. Their memory is had back when
   * their time ends.
   *
   * @throws CoordinationError CACHE_TIER_UNREACHABLE, BACKEND_UNSUPPORTED.
   */
  invalidateTag(tag: string, options?: CacheCallOptions): Promise<void>;
  /** The same for up to 1,000 tags: what carries any of them is invalidated. */
  invalidateTags(tags: Iterable<string>, options?: CacheCallOptions): Promise<void>;
  /**
   * Invalidates every entry that was there when it was called, and refuses the loads that had begun;
   * as quickly for a million entries as for one.
   *
   * @throws CoordinationError CACHE_TIER_UNREACHABLE; some entries may then be left.
   */
  clear(options?: CacheCallOptions): Promise<void>;
  /** What happened since the cache was created. A plain object; it does not change afterwards. */
  stats(): CacheStats;
  /**
   * Ends the cache: no new calls; waits for those in flight up to `drainMs` (default 5,000), then
   * ends reads with CLOSED, and writes that were not acknowledged with CACHE_TIER_UNREACHABLE. A
   * `commit` that runs goes on. Entries of a shared tier stay; a client that was passed in stays open.
   * Never rejects; a second call waits for the first.
   */
  close(options?: { readonly drainMs?: number | undefined }): Promise<void>;
  /** Closes with the default `drainMs`. */
  [Symbol.asyncDispose](): Promise<void>;
}
