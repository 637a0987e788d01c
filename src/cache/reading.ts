import { abortable } from '../core/abort.js';
import { closedError, isCoordinationError } from '../core/errors.js';
import { assertFunction, assertKey, type CallOptions, callOptions } from './arguments.js';
import { auditor } from './audit.js';
import type { Answer, Authority, Found, ReadAnswer } from './authority.js';
import type { CacheCallOptions, CacheReadOptions, CacheWriteOptions, Loader } from './cache.js';
import type { Deck } from './deck.js';
import type { LocalValue } from './driver.js';
import { handOut } from './isolation.js';
import { ageNow } from './lifetime.js';
import { lookUp } from './looking.js';
import { keepNear } from './near.js';

/** The reads of one cache. */
export interface CacheReader {
  get(key: string, options?: CacheCallOptions & CacheReadOptions): Promise<unknown>;
  peek(key: string): unknown;
  has(key: string, options?: CacheCallOptions): Promise<boolean>;
  /** Calls `onWait` when the key's load is somebody else's, for the time being. */
  getOrLoad(
    key: string,
    loader: Loader<unknown>,
    options?: CacheWriteOptions & CacheReadOptions,
    onWait?: () => void,
  ): Promise<unknown>;
}

/** Reads: first what is in this process, without a promise of its own; then the rest. */
export function cacheReader(deck: Deck): CacheReader {
  const { settings, tiers, counters, gate } = deck;
  const { front, authority } = tiers;
  const frontGet = front?.store.get;
  const frontCounter = front?.counter;
  const { sample } = settings.audit ?? {};
  const audit = sample === undefined ? undefined : auditor(deck, sample);

  /** A hit in this process, counted; undefined, not counted yet. */
  const hitInFront = (key: string): LocalValue | undefined => {
    if (gate.isClosed) throw closedError(`cache ${settings.name}`);
    if (frontGet === undefined || frontCounter === undefined) return undefined;
    const found = frontGet(key);
    if (found === undefined) return undefined;
    frontCounter.hitCount += 1;
    counters.hitCount += 1;
    audit?.hit(key, found);
    if (found.sliding !== undefined) deck.slides?.hit(key, found, found.sliding);
    return found;
  };
  /** Counts the miss, and checks what a hit would have proved: that the key is one. */
  const missInFront = (key: string): void => {
    assertKey(key);
    if (frontCounter !== undefined) frontCounter.missCount += 1;
  };
  /** A key that is only in a farther tier, or nowhere: the rest of `get`. */
  const getFarther = (key: string, options: CallOptions): Promise<unknown> => {
    const { signal } = options;
    missInFront(key);
    if (!authority.isShared) {
      counters.missCount += 1;
      return Promise.resolve(undefined);
    }
    const finish = (found: LocalValue | undefined): unknown => {
      if (found === undefined) counters.missCount += 1;
      else counters.hitCount += 1;
      return found && handOut(key, found);
    };
    if (signal === undefined) return readAndKeep(deck, key, options, finish);
    const reading = readAndKeep(deck, key, options, (found) => found);
    return abortable(reading, signal).then(finish, (error) => {
      counters.missCount += 1;
      throw error;
    });
  };
  /** The copies of this process may be older than what another node was told. */
  const passesBy = (given: CallOptions | undefined): boolean =>
    given?.isLinearizable === true && tiers.near !== undefined;
  const checked = (options: (CacheWriteOptions & CacheReadOptions) | undefined): CallOptions =>
    callOptions(deck, options);

  // A hit makes no promise but the caller's own, and checks only the options that there are.
  return {
    get(key, options) {
      try {
        const given = options && checked(options);
        const found = passesBy(given) ? undefined : hitInFront(key);
        if (found === undefined) return getFarther(key, given ?? checked(options));
        return Promise.resolve(found.isShareable ? found.value : handOut(key, found));
      } catch (error) {
        return Promise.reject(error);
      }
    },
    peek(key) {
      const found = hitInFront(key);
      if (found !== undefined) return found.isShareable ? found.value : handOut(key, found);
      missInFront(key);
      counters.missCount += 1;
      return undefined;
    },
    async has(key, options) {
      const { timeoutMs, signal } = checked(options);
      assertKey(key);
      const waitMs = Math.min(timeoutMs, settings.tierTimeoutMs);
      return gate.run(async () => {
        const found = front?.store.get(key);
        if (found !== undefined) return !found.isAbsent;
        return authority.isShared && abortable(exists(deck, key, waitMs), signal);
      });
    },
    getOrLoad(key, loader, options, onWait) {
      try {
        if (typeof loader !== 'function') assertFunction('loader', loader);
        const given = options && checked(options);
        const found = passesBy(given) ? undefined : hitInFront(key);
        if (found === undefined) {
          missInFront(key);
          const { ttlMs, timeoutMs, signal, tags, isLinearizable } = given ?? checked(options);
          const bounds = { ttlMs, timeoutMs, signal };
          return lookUp(deck, key, { loader, onWait, tags, isLinearizable, ...bounds });
        }
        return Promise.resolve(found.isShareable ? found.value : handOut(key, found));
      } catch (error) {
        return Promise.reject(error);
      }
    },
  };
}

/**
 * What the shared tier has for a key, which the memory before it then keeps. `finish` makes the answer
 * of it, and is told of nothing also when the read fails.
 */
function readAndKeep<Result>(
  deck: Deck,
  key: string,
  { timeoutMs, isLinearizable }: CallOptions,
  finish: (found: LocalValue | undefined) => Result,
): Promise<Result> {
  const { settings, gate, tiers } = deck;
  const { authority, near } = tiers;
  gate.begin();
  const ticket = near?.begin(key);
  const over = (): void => {
    if (ticket !== undefined) near?.end(ticket);
    gate.end();
  };
  const waitMs = Math.min(timeoutMs, settings.tierTimeoutMs);
  const answered = (answer: Answer<ReadAnswer>): Result => {
    const isFound = answer.state === 'found' && isGood(deck, answer);
    if (isFound) {
      if (!answer.isHeld) keepNear(deck, ticket, answer.local, answer.validity);
      deck.slides?.read(key, answer.local, answer.validity);
    }
    over();
    const result = finish(isFound ? answer.local : undefined);
    if (answer.state === 'failed') throwIfTold(answer.error);
    return result;
  };
  if (!isLinearizable) return authority.readThen(key, waitMs, true, answered);
  return readSynced(authority, key, waitMs, true).then(answered);
}

type Read = (
  authority: Authority,
  key: string,
  timeoutMs: number,
  isCounted: boolean,
) => ReturnType<Authority['read']>;

const readPlain: Read = (authority, ...asked) => authority.read(...asked);

/** A read that sees everything acknowledged before it, or nothing. */
const readSynced: Read = async (authority, key, timeoutMs, isCounted) => {
  const synced = await authority.sync?.(timeoutMs);
  return synced?.state === 'failed'
    ? { state: 'missing' }
    : authority.read(key, timeoutMs, isCounted);
};

/** Whether an entry is not stale: without a loader nobody would make it better. */
function isGood({ settings: { clock } }: Deck, found: Found): boolean {
  const age = ageNow(clock, found);
  return age === 'fresh' || age === 'early';
}

async function exists(deck: Deck, key: string, timeoutMs: number): Promise<boolean> {
  const { authority } = deck.tiers;
  const reading = deck.settings.isSynced ? readSynced : readPlain;
  const answer = await reading(authority, key, timeoutMs, false);
  return answer.state === 'found' && !answer.local.isAbsent && isGood(deck, answer);
}

/** Most failures of a tier are a miss; of these the caller must know. */
function throwIfTold(error: unknown): void {
  if (isCoordinationError(error, 'UPGRADE_NEEDED') || isCoordinationError(error, 'CLOSED')) {
    throw error;
  }
}
