import type { Clock, Validity } from '../core/clock.js';
import type { Random } from '../core/random.js';

/**
 * The SPI of a cache's backend, in two kinds. `createCache` opens it once a cache; users only
 * construct it. A driver passes `cacheDriverContract` of `tricord/testing` against a real backend.
 *
 * What every tier keeps for a key is an entry with a time to live, and at most one *claim*:
 *
 * - a **lease**, the right to fill the missing entry. It is won by one node, on a miss; the others
 *   follow: they wait for its end.
 * - a **hold**, which a writer puts before its commit: as long as it lasts nobody fills.
 *
 * Every write and every invalidation ends the lease of its key, so that the value of a load which
 * began before it is refused. This is the lease of Nishtala et al., Scaling Memcache at Facebook
 * (NSDI 2013), section 3.2.1, with a token for each attempt instead of each client.
 */
export type CacheDriver = ProcessCacheDriver | SharedCacheDriver;

/** A driver whose tier lives in this process and keeps values as they are: the L1. */
export interface ProcessCacheDriver {
  /** Which backend, for messages and metrics: `memory`. */
  readonly backend: string;
  /** The tier lives in this process. */
  readonly scope: 'process';
  /** Starts serving one cache. Two caches of one name share the entries. */
  open(node: CacheNode): ProcessTier;
}

/** A driver whose tier several processes share. It keeps texts. */
export interface SharedCacheDriver {
  /** Which backend, for messages and metrics: `redis`. */
  readonly backend: string;
  /** Several processes share the tier. */
  readonly scope: 'shared';
  /**
   * True: its tiers can tell of every change, so that memory before them can be kept coherent.
   * `writes`: of the changes that caches make which tell each other, and such news may be lost; the
   * loss is noticed within seconds.
   */
  readonly tells?: boolean | 'writes' | undefined;
  /** True: its tiers have what a strict cache needs, see `SharedTier.strict`. */
  readonly reserves?: boolean | undefined;
  /** True: a read may lag behind what was acknowledged to others, unless `sync` came before it. */
  readonly lags?: boolean | undefined;
  /** Starts serving one cache. Sends nothing yet, and never throws for a server that is down. */
  open(node: CacheNode): SharedTier;
}

/** One open cache of one process. */
export interface CacheNode {
  /** The cache's name: caches of different names never see each other's entries. */
  readonly name: string;
  /** The cache's source of time. */
  readonly clock: Clock;
  /** The cache's source of chance. */
  readonly random: Random;
  /**
   * How the texts of a shared tier stand as bytes: with `latin1`, when the codec writes bytes, every
   * character is one byte. A driver that always stores UTF-8 keeps such texts exactly too, but larger.
   * Default `utf8`.
   */
  readonly encoding?: TextEncoding | undefined;
  /** True: reads tell of reservations, `TierEntry.isHeld`. Only where the driver says `reserves: true`. */
  readonly isStrict?: boolean | undefined;
  /** Counts and publishes what failed in the background. */
  onFailure?(operation: string, error: unknown): void;
  /** Publishes that the tier has changed over to its weaker way of telling of changes, for good. */
  onFallback?(error: unknown): void;
  /** Publishes that a live entry of a process's memory was given up for others. */
  onEvicted?(key: string): void;
}

/** How texts stand as bytes; see {@link CacheNode.encoding}. */
export type TextEncoding = 'utf8' | 'latin1';

/** An entry that was found. */
export interface TierEntry<Stored> {
  /** The value as the tier keeps it. */
  readonly stored: Stored;
  /** What is left of its time to live, in milliseconds; undefined when it was not asked for. */
  readonly remainingMs: number | undefined;
  /** True: a writer has reserved the key, and will change it. No copy of it may be kept. */
  readonly isHeld?: boolean | undefined;
}

/** An entry to be kept. */
export interface NewEntry<Stored> {
  /** The value as the tier keeps it. */
  readonly stored: Stored;
  /** For how long, in milliseconds; counted by the backend's clock. */
  readonly ttlMs: number;
}

/** How long a caller waits for one call. */
export interface CallBounds {
  /**
   * The call settles within this many milliseconds, whatever the backend does; the wait for a
   * connection counts. What was not sent by then is never sent.
   */
  readonly timeoutMs: number;
}

/** A writer's bounds, and the fencing token of the lock under which it writes. */
export interface FencedBounds extends CallBounds {
  /**
   * Decimal digits, all of one length. In the same step as the write: an older one than the key has
   * seen changes nothing, and a newer one is remembered for `FENCE_KEPT_MS`. Given only to a tier with
   * `fences: true`.
   */
  readonly fence?: string | undefined;
}

/** The answer to a write whose fencing token is too old. */
export interface FencedOff {
  /** The newest one that the key has seen: digits. */
  readonly newest: string;
}

/** How long a tier remembers a fencing token after its last write, in milliseconds: a day. */
export const FENCE_KEPT_MS = 86_400_000;

/** The claim that a node has or wants, named by a token that is unique for each attempt. */
export interface Claim {
  /** Whether it is the right to fill or a writer's hold. */
  readonly kind: 'lease' | 'hold';
  /** 22 characters of `[A-Za-z0-9_-]`. */
  readonly token: string;
}

/** The answer to a request for a lease. */
export type LeaseReply<Stored> =
  /** There is an entry after all; no lease was given. */
  | { readonly state: 'found'; readonly entry: TierEntry<Stored> }
  /** The lease was won, or is held by this very token already. */
  | {
      readonly state: 'leader';
      /** The epoch of the tags, as of a moment before this answer; where the tier has tags. */
      readonly epoch?: string | undefined;
    }
  /** Another attempt has the lease, for so long at most. */
  | { readonly state: 'follower'; readonly remainingMs: number }
  /** A writer holds the key: load, and store nothing. */
  | { readonly state: 'held' };

/**
 * What every tier does. Each operation on one key is atomic, ordered by the backend with all others
 * on that key, and may be sent twice: a repetition stores nothing, and brings nothing back that was
 * removed or replaced since.
 *
 * Keys are well-formed texts of 1 to 1,024 UTF-8 bytes with any characters; the driver encodes them.
 * A call rejects when it is not certain that it took effect, with a coded error where the cause is
 * known; the engine then goes on without this tier, or tells its caller.
 */
export interface LeaseTier<Stored> {
  /** Whether a request for a lease costs no more messages than a read, also where there is an entry. */
  readonly leasesAtOnce?: boolean | undefined;
  /** Whether it compares fencing tokens. */
  readonly fences?: boolean | undefined;
  /** What entries are invalidated by together; undefined: the tier cannot. */
  readonly tags?: TierTags | undefined;
  /** The entry of a key, with what is left of its time when `withRemaining`. */
  read(
    key: string,
    bounds: CallBounds & { readonly withRemaining: boolean },
  ): Promise<TierEntry<Stored> | undefined>;
  /**
   * Asks for the lease of a key without an entry. A lease ends by itself after `leaseMs`.
   *
   * With `refresh` it asks for the right to replace the entry that is there: an entry is no answer
   * then. Such a lease may be given to several nodes at once, and is refused its fill, like any other,
   * when the entry was written or removed since.
   */
  lease(
    key: string,
    token: string,
    leaseMs: number,
    bounds: CallBounds & { readonly refresh?: boolean | undefined },
  ): Promise<LeaseReply<Stored>>;
  /** Lets a claim last `claimMs` from now, if it is still there. */
  renew(key: string, claim: Claim, claimMs: number, bounds: CallBounds): Promise<'held' | 'lost'>;
  /** Keeps the entry and ends the lease, if this token has it. Followers wake. */
  fill(
    key: string,
    token: string,
    entry: NewEntry<Stored>,
    bounds: CallBounds,
  ): Promise<'stored' | 'refused'>;
  /** Ends the lease without an entry, if this token has it. Followers wake. */
  release(key: string, token: string, bounds: CallBounds): Promise<'released' | 'refused'>;
  /**
   * Removes the entry and takes the lease from whoever has it, for a writer that fills next.
   * A hold stays, and refuses.
   */
  seize(
    key: string,
    token: string,
    leaseMs: number,
    bounds: FencedBounds,
  ): Promise<'leader' | 'held' | FencedOff>;
  /** Removes the entry, ends any other claim, and holds the key for `holdMs`. Followers wake. */
  hold(
    key: string,
    token: string,
    holdMs: number,
    bounds: FencedBounds,
  ): Promise<undefined | FencedOff>;
  /**
   * Removes the entry and ends the lease; ends the hold if it is of `holdToken`, and leaves the hold
   * of another writer. Followers wake.
   */
  invalidate(
    key: string,
    holdToken: string | undefined,
    bounds: FencedBounds,
  ): Promise<undefined | FencedOff>;
  /** Lets the entry that is there last `ttlMs` from now, longer or shorter than before; answers it. */
  touch(key: string, ttlMs: number, bounds: CallBounds): Promise<TierEntry<Stored> | undefined>;
  /**
   * Lets an entry last `ttlMs` from now if it has more to lose: never shorter than before. Only where
   * the entry is the one that was hit: its text has `mark` in it, or its value `slidingMark`.
   */
  extend(
    key: string,
    ttlMs: number,
    mark: string,
    bounds: CallBounds,
  ): Promise<'extended' | 'unchanged'>;
  /**
   * Removes every entry and every lease that was there when it was called; holds stay. An entry that
   * is filled meanwhile by a later lease may stay.
   */
  clear(bounds: CallBounds): Promise<void>;
  /**
   * Resolves when the lease of the key may have ended, or the signal aborts. It is a hint: it may
   * come for nothing or not at all, and the engine polls beside it. Never rejects.
   */
  changed(key: string, signal: AbortSignal): Promise<void>;
  /** Lets go of what the driver opened; no client that was passed in. Never rejects. */
  close(): Promise<void>;
}

/** A tag of an entry, as it was when the entry was loaded. */
export interface TagStamp {
  /** The tag. */
  readonly tag: string;
  /** Its version: the entry is good while this is the tag's version. */
  readonly version: string;
}

/** What an entry with tags is stamped with. */
export interface TagStamps {
  /** Of each tag, in the order in which they were asked for. */
  readonly versions: readonly string[];
  /** Of the namespace. */
  readonly epoch: string;
}

/**
 * Versions of tags: what carries another version of a tag than the current one is outdated. A version
 * is a text that is never used twice, also not after the tier has forgotten it; no clock is compared.
 *
 * The *epoch* is one more version, of all tags together: it changes before any tag does, and with
 * `clear`. Who sees the same one before a load and after knows that no tag has changed in between,
 * also those of which nobody knew before the load.
 */
export interface TierTags {
  /** The versions now; undefined: the tag has none, and what carries it is outdated. */
  versions(tags: readonly string[], bounds: CallBounds): Promise<readonly (string | undefined)[]>;
  /**
   * The versions for an entry that lasts `keepMs`, made where there are none; then the epoch, as of the
   * same moment or a later one.
   */
  stamp(tags: readonly string[], keepMs: number, bounds: CallBounds): Promise<TagStamps>;
  /** Ends the epoch, and then the version of each of the tags. */
  renew(tags: readonly string[], bounds: CallBounds): Promise<void>;
}

/** A tier outside this process. */
export interface SharedTier extends LeaseTier<string> {
  /** Several processes share the tier. */
  readonly scope: 'shared';
  /**
   * Reads that begin when it has resolved see everything that was acknowledged, to whomever, before it
   * was called. Only where they might not without it.
   */
  sync?(bounds: CallBounds): Promise<void>;
  /**
   * Begins to tell of every change of an entry, whoever makes it, its own writes and the end of its
   * time included; once, until `close`. Only where the driver says `tells`, and as far as it says.
   */
  follow?(listener: TierListener): void;
  /** The writes of a strict cache; only where the driver says `reserves: true`. */
  readonly strict?: StrictTier | undefined;
}

/**
 * A reservation is a hold that leaves the entry: readers are answered it, and told that it is held.
 * Both calls are atomic, ordered and repeatable like those of {@link LeaseTier}.
 */
export interface StrictTier {
  /**
   * Ends any other claim, and holds the key for `holdMs`, or as much longer as another writer held it.
   * Followers wake.
   */
  reserve(
    key: string,
    token: string,
    holdMs: number,
    bounds: FencedBounds,
  ): Promise<undefined | FencedOff>;
  /**
   * Replaces the entry and ends the hold, if it is of this token; without an entry removes it. With
   * `holdMs` the hold stays, for so long from now. If the hold is not of this token the entry is
   * removed and any lease ended; the hold of another writer stays.
   */
  conclude(
    key: string,
    token: string,
    entry: NewEntry<string> | undefined,
    bounds: CallBounds & { readonly holdMs?: number | undefined },
  ): Promise<'own' | 'other'>;
}

/** Who hears of the changes of a shared tier. */
export interface TierListener {
  /** From now on every change is told. What was read before may have changed unheard. */
  live(): void;
  /** From now on changes may be missed, until the next `live`. */
  lost(): void;
  /** The entry of a key has changed or gone; undefined: any of them. */
  changed(key: string | undefined): void;
  /** The version of a tag may have changed. */
  renewed(tag: string): void;
}

/** A tier inside this process: the same promises, and a synchronous view of the same entries. */
export interface ProcessTier extends LeaseTier<LocalValue> {
  /** The tier lives in this process. */
  readonly scope: 'process';
  /** The same entries, read and written without waiting. */
  readonly local: LocalStore;
}

/** A value as a process keeps it: the cache's own copy, never the writer's object. */
export interface LocalValue {
  /** The cache's own copy. */
  readonly value: unknown;
  /** True: deeply frozen or primitive, and handed out as it is. False: copied for each reader. */
  readonly isShareable: boolean;
  /** Makes a reader's copy of `value`, which then may stand in another form; undefined: as plain data. */
  readonly copy?: ((value: unknown) => unknown) | undefined;
  /** How it ages; undefined: it is as good as new until its end. */
  readonly aging?: Aging | undefined;
  /** True: the source has no value for this key. */
  readonly isAbsent?: boolean | undefined;
  /** What it is invalidated by, beside its key. */
  readonly tags?: readonly TagStamp[] | undefined;
  /** How hits extend it; undefined: they do not. */
  readonly sliding?: Sliding | undefined;
}

/** How hits extend an entry. */
export interface Sliding {
  /** For how long from a hit it is as good as new, in whole milliseconds. */
  readonly ttlMs: number;
  /** When it ends at the latest: by the clock of the process that stored it, since 1970. */
  readonly endMs: number;
  /** How long it is kept beyond being as good as new, where a copy does not say. */
  readonly graceMs?: number | undefined;
  /** In the memory of a process: when a hit extends it next, on the monotonic clock. */
  dueMs?: number | undefined;
}

/** The last parts of an entry's life, in milliseconds counted back from its end. */
export interface Aging {
  /** The last part: it is stale, and kept for want of a better one. */
  readonly graceMs: number;
  /** The part before that: it is good, and a refresh is due. */
  readonly earlyMs: number;
}

/** The right to put one value that was read elsewhere; see {@link LocalStore.begin}. */
export interface FillTicket {
  /** The key that it was given for. */
  readonly key: string;
  /** Set by the store: the key was written or removed since the ticket was given. */
  isVoid: boolean;
  /** When it was given; see {@link LocalTags.note}. */
  readonly moment: number;
}

/** Entries of this process, bounded in number, each with an end. Nothing here throws or waits. */
export interface LocalStore {
  /** How many entries are in it now. */
  readonly entryCount: number;
  /** How many live entries were given up for others, since the store was made. */
  readonly evictionCount: number;
  /** About how many bytes the entries take; undefined where the store does not weigh them. */
  readonly byteCount?: number | undefined;
  /** The versions of tags that are known here. What carries another version is not answered. */
  readonly tags: LocalTags;
  /**
   * The value of a key that is as good as new, by the monotonic and by the wall clock: not in the last
   * parts of its life.
   */
  get(key: string): LocalValue | undefined;
  /**
   * Before a value is asked for elsewhere: a ticket for keeping the answer. `delete` and `clear`
   * void it, so that an answer which an invalidation has overtaken is never kept.
   */
  begin(key: string): FillTicket;
  /** Keeps the value as long as it is valid, unless the ticket is void. */
  put(ticket: FillTicket, value: LocalValue, validity: Validity): 'stored' | 'refused';
  /** Ends a ticket, used or not; once for each `begin`. */
  end(ticket: FillTicket): void;
  /** Removes the entry and voids the tickets of the key. */
  delete(key: string): void;
  /** Removes all entries and voids all tickets. */
  clear(): void;
}

/** Versions of tags that a process knows, bounded in number. */
export interface LocalTags {
  /** Grows with every renewal. */
  readonly moment: number;
  /** The version of a tag, if it is known. */
  get(tag: string): string | undefined;
  /** Takes note of a version that was asked for after a moment, unless the tag was renewed since. */
  note(tag: string, version: string, since: number): void;
  /** Forgets a tag, also in answers that are under way. */
  renewed(tag: string): void;
}
