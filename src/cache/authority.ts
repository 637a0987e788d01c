import { sleep } from '../core/abort.js';
import { backoffMs } from '../core/backoff.js';
import { elapsedMs, instantOf, type Validity } from '../core/clock.js';
import { CoordinationError, isCoordinationError } from '../core/errors.js';
import { decodeValue, encodeValue } from './codec.js';
import { cacheTierFailed } from './diagnostics.js';
import type {
  CacheNode,
  CallBounds,
  Claim,
  LeaseTier,
  LocalValue,
  ProcessTier,
  SharedTier,
} from './driver.js';
import type { Isolated } from './isolation.js';
import type { TierCounter } from './stats.js';

/** A value that the authority has, valid from before it was asked. */
export interface Found {
  readonly state: 'found';
  readonly local: LocalValue;
  readonly validity: Validity;
}

/** What a question came to that must not hurt its caller. */
export type Answer<Reply> = Reply | Failed;

/** The tier did not answer, or with an error. It was counted and published. */
export interface Failed {
  readonly state: 'failed';
  readonly error: unknown;
}

/** The answer to a request for a lease. */
export type LeaseAnswer =
  | Found
  | { readonly state: 'leader' | 'held' }
  | { readonly state: 'follower'; readonly remainingMs: number };

/**
 * The farthest tier of a cache, which orders all writes: its calls in values instead of texts, with
 * failures as answers where a read can go on without it, and as CACHE_TIER_UNREACHABLE where a
 * writer must know.
 */
export interface Authority {
  readonly isShared: boolean;
  read(key: string, timeoutMs: number): Promise<Answer<Found | { readonly state: 'missing' }>>;
  exists(key: string, timeoutMs: number): Promise<boolean>;
  lease(key: string, token: string, timeoutMs: number): Promise<Answer<LeaseAnswer>>;
  /** Stores what the holder of the lease has loaded; undefined ends the lease without an entry. */
  fill(key: string, token: string, entry: Fill, timeoutMs: number): Promise<FillAnswer>;
  renew(key: string, claim: Claim, timeoutMs: number): Promise<'held' | 'lost' | 'failed'>;
  /** Resolves when the lease may have ended; see `LeaseTier.changed`. */
  changed(key: string, signal: AbortSignal): Promise<void>;

  seize(key: string, token: string, timeoutMs: number): Promise<'leader' | 'held'>;
  store(
    key: string,
    token: string,
    entry: Fill,
    timeoutMs: number,
  ): Promise<'accepted' | 'refused'>;
  hold(key: string, token: string, timeoutMs: number): Promise<void>;
  invalidate(key: string, holdToken: string | undefined, timeoutMs: number): Promise<void>;
  clear(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

/** What a load or a writer wants stored. */
export interface Fill {
  readonly value: Isolated | undefined;
  readonly ttlMs: number;
}

export type FillAnswer = 'accepted' | 'refused' | 'failed';

/** Errors after which the same request may be sent again. */
const REPEATABLE: ReadonlySet<unknown> = new Set(['RESULT_UNKNOWN', 'BACKEND_UNAVAILABLE']);
const RETRY = { baseMs: 20, maxMs: 500 };

const codeOf = (error: unknown): unknown => (isCoordinationError(error) ? error.code : undefined);

/** What an authority is made of. */
export interface AuthorityOptions {
  readonly node: CacheNode;
  readonly tier: SharedTier | ProcessTier;
  readonly counter: TierCounter;
  readonly leaseMs: number;
  /** Whether the time that is left of entries is needed, for a tier before this one. */
  readonly withRemaining: boolean;
}

/** The calls of a tier, whichever kind it is. */
export function authority(options: AuthorityOptions): Authority {
  const { tier } = options;
  return tier.scope === 'shared'
    ? authorityOver<string>(options, tier, {
        encode: encodeValue,
        decode: (where, stored) => decodeValue(where, stored),
      })
    : authorityOver<LocalValue>(options, tier, {
        encode: (value) => value,
        decode: (_, stored) => stored,
      });
}

interface Form<Stored> {
  encode(value: Isolated): Stored;
  decode(where: string, stored: Stored): LocalValue;
}

function authorityOver<Stored>(
  { node, tier: { scope }, counter, leaseMs, withRemaining }: AuthorityOptions,
  tier: LeaseTier<Stored>,
  form: Form<Stored>,
): Authority {
  const { clock } = node;
  const isShared = scope === 'shared';
  const failed = (operation: string, key: string | undefined, error: unknown): Failed => {
    counter.failureCount += 1;
    cacheTierFailed.publish(() => {
      return { cache: node.name, tier: counter.backend, operation, key, error };
    });
    return { state: 'failed', error };
  };
  /** Asks for what a reader can do without. */
  const ask = async <Reply>(
    operation: string,
    key: string,
    call: () => Promise<Reply>,
  ): Promise<Reply | Failed> => {
    try {
      return await call();
    } catch (error) {
      return failed(operation, key, error);
    }
  };
  /** Demands what a writer must know: again and again while there is time, as all can be repeated. */
  const demand = async <Reply>(
    operation: string,
    key: string | undefined,
    timeoutMs: number,
    call: (bounds: CallBounds) => Promise<Reply>,
  ): Promise<Reply> => {
    const since = instantOf(clock);
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await call({ timeoutMs: Math.max(timeoutMs - elapsedMs(clock, since), 1) });
      } catch (error) {
        failed(operation, key, error);
        const delayMs = backoffMs(attempt, RETRY, node.random);
        const isWorthAnother = REPEATABLE.has(codeOf(error));
        if (!isWorthAnother || elapsedMs(clock, since) + delayMs >= timeoutMs) {
          throw unreachable(node.name, counter.backend, key, error);
        }
        await sleep(clock, delayMs);
      }
    }
  };
  const entryOf = ({ value, ttlMs }: Fill & { value: Isolated }) => {
    return { stored: form.encode(value), ttlMs };
  };
  /** Ends a lease, with an entry or without. */
  const settle = async (key: string, token: string, { value, ttlMs }: Fill, timeoutMs: number) => {
    const reply =
      value === undefined
        ? await tier.release(key, token, { timeoutMs })
        : await tier.fill(key, token, entryOf({ value, ttlMs }), { timeoutMs });
    return reply === 'refused' ? 'refused' : 'accepted';
  };
  const foundAt = (
    key: string,
    since: Validity['since'],
    entry: { stored: Stored; remainingMs: number | undefined },
  ): Found => {
    const where = `cache ${node.name}, key ${JSON.stringify(key)} in ${counter.backend},`;
    const local = form.decode(where, entry.stored);
    return { state: 'found', local, validity: { since, forMs: entry.remainingMs ?? 0 } };
  };
  /** What nobody can read is no entry: it is removed, so that the next load can take its place. */
  const heal = async (key: string, timeoutMs: number, error: unknown): Promise<void> => {
    if (!isCoordinationError(error, 'DATA_CORRUPT')) throw error;
    failed('read', key, error);
    await tier.invalidate(key, undefined, { timeoutMs });
  };
  const read = async (key: string, timeoutMs: number): Promise<Found | { state: 'missing' }> => {
    try {
      const since = instantOf(clock);
      const entry = await tier.read(key, { timeoutMs, withRemaining });
      return entry === undefined ? { state: 'missing' } : foundAt(key, since, entry);
    } catch (error) {
      await heal(key, timeoutMs, error);
      return { state: 'missing' };
    }
  };

  return {
    isShared,
    async read(key, timeoutMs) {
      const answer = await ask('read', key, () => read(key, timeoutMs));
      if (answer.state === 'found') counter.hitCount += 1;
      else counter.missCount += 1;
      return answer;
    },
    async exists(key, timeoutMs) {
      const answer = await ask('exists', key, () =>
        tier.read(key, { timeoutMs, withRemaining: false }),
      );
      return answer !== undefined && !('state' in answer);
    },
    lease: (key, token, timeoutMs) =>
      ask('lease', key, async () => {
        const since = instantOf(clock);
        const reply = await tier.lease(key, token, leaseMs, { timeoutMs });
        return reply.state === 'found' ? foundAt(key, since, reply.entry) : reply;
      }),
    async fill(key, token, entry, timeoutMs) {
      const answer = await ask('fill', key, () => settle(key, token, entry, timeoutMs));
      return typeof answer === 'string' ? answer : 'failed';
    },
    async renew(key, claim, timeoutMs) {
      const call = () => tier.renew(key, claim, leaseMs, { timeoutMs });
      const answer = await ask('renew', key, call);
      return typeof answer === 'string' ? answer : 'failed';
    },
    changed: (key, signal) => tier.changed(key, signal),
    seize: (key, token, timeoutMs) =>
      demand('seize', key, timeoutMs, (bounds) => tier.seize(key, token, leaseMs, bounds)),
    store: (key, token, entry, timeoutMs) =>
      demand('store', key, timeoutMs, (bounds) => settle(key, token, entry, bounds.timeoutMs)),
    hold: (key, token, timeoutMs) =>
      demand('hold', key, timeoutMs, (bounds) => tier.hold(key, token, leaseMs, bounds)),
    invalidate: (key, holdToken, timeoutMs) =>
      demand('invalidate', key, timeoutMs, (bounds) => tier.invalidate(key, holdToken, bounds)),
    clear: (timeoutMs) => demand('clear', undefined, timeoutMs, (bounds) => tier.clear(bounds)),
    close: () => tier.close(),
  };
}

function unreachable(
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
