import { abortable, sleep } from '../core/abort.js';
import { CoordinationError, closedError, isCoordinationError } from '../core/errors.js';
import { assertNumber } from '../core/validate.js';
import {
  assertFunction,
  assertIterable,
  assertKey,
  assertTags,
  type CallOptions,
  callOptions,
  newEntry,
} from './arguments.js';
import type { Cache, CacheCallOptions } from './cache.js';
import { type Deck, newDeck } from './deck.js';
import { cacheReader } from './reading.js';
import type { CacheSettings } from './tiers.js';
import { cacheWriter } from './writing.js';

const DRAIN_MS_DEFAULT = 5_000;
/** So many tags are invalidated in one call. */
const TAGS_INVALIDATED_MAX = 1_000;

/** The engine: everything that is true for every backend. */
export function cacheEngine<Value>(settings: CacheSettings): Cache<Value> {
  const deck = newDeck(settings);
  const { gate } = deck;
  const reader = cacheReader(deck);
  const writer = cacheWriter(deck);
  let closing: Promise<void> | undefined;

  const write = async <Result>(
    options: CacheCallOptions | undefined,
    operation: (options: CallOptions) => Promise<Result>,
  ): Promise<Result> => {
    const checked = callOptions(deck, options);
    return gate.run(() => abortable(operation(checked), checked.signal));
  };
  // Values enter as the type of the cache and come back exactly so: the reader cannot know it.
  const typed = reader as Pick<Cache<Value>, 'get' | 'peek' | 'has' | 'getOrLoad'>;

  return {
    name: settings.name,
    get: typed.get,
    peek: typed.peek,
    has: typed.has,
    getOrLoad: typed.getOrLoad,
    getMany: async (keys, options) => getMany(typed, keys, options),
    async set(key, value, options) {
      const entry = newEntry(key, value);
      return write(options, (given) => writer.set(key, entry, given));
    },
    async setMany(pairs, options) {
      assertIterable('entries', pairs);
      const entries = Array.from(pairs, ([key, value]) => [key, newEntry(key, value)] as const);
      return write(options, (given) =>
        allOrTold(entries.map(([key, entry]) => writer.set(key, entry, given))),
      );
    },
    async delete(key, options) {
      assertKey(key);
      return write(options, (given) => writer.delete(key, given));
    },
    async update(key, commit, options) {
      assertKey(key);
      assertFunction('commit', commit);
      const given = callOptions(deck, options);
      const { signal } = given;
      // The signal reaches the commit only: what was committed must be followed by its invalidation.
      return gate.run(() => writer.update(key, () => commit({ signal }), given));
    },
    async invalidateTag(tag, options) {
      assertTags(deck, [tag]);
      return write(options, ({ timeoutMs }) => writer.invalidateTags([tag], timeoutMs));
    },
    async invalidateTags(tags, options) {
      assertIterable('tags', tags);
      const each = Array.from(new Set(tags));
      assertTags(deck, each, TAGS_INVALIDATED_MAX);
      return write(options, ({ timeoutMs }) => writer.invalidateTags(each, timeoutMs));
    },
    clear: async (options) => write(options, ({ timeoutMs }) => writer.clear(timeoutMs)),
    stats: () => deck.statistics.stats(),
    async close({ drainMs = DRAIN_MS_DEFAULT } = {}) {
      assertNumber('drainMs', drainMs, { min: 0 });
      closing ??= end(deck, drainMs);
      return closing;
    },
    async [Symbol.asyncDispose]() {
      closing ??= end(deck, DRAIN_MS_DEFAULT);
      return closing;
    },
  };
}

async function end(deck: Deck, drainMs: number): Promise<void> {
  const { gate, flights, tiers, settings, refreshes, statistics } = deck;
  // Nobody waits for what goes on in the background.
  refreshes.ending.abort(closedError(`cache ${settings.name}`));
  const ending = await gate.close(drainMs);
  if (ending === 'timed-out') {
    for (const flight of Array.from(flights.values())) {
      flight.fail(closedError(`cache ${settings.name}`));
    }
    // Their loads end now and give back their leases; these requests still leave.
    await sleep(settings.clock, 0);
  }
  statistics.close();
  await tiers.close();
}

async function getMany<Value>(
  reader: Pick<Cache<Value>, 'get'>,
  keys: Iterable<string>,
  options: CacheCallOptions | undefined,
): Promise<Map<string, Value>> {
  assertIterable('keys', keys);
  const unique = Array.from(new Set(keys));
  for (const key of unique) assertKey(key);
  const values = await Promise.all(unique.map((key) => reader.get(key, options)));
  const found = new Map<string, Value>();
  unique.forEach((key, index) => {
    const value = values[index];
    if (value !== undefined) found.set(key, value);
  });
  return found;
}

/** Waits for all writes, then tells of those that were not acknowledged, in one error. */
async function allOrTold(writes: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(writes);
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  const [first] = errors;
  if (!isCoordinationError(first, 'CACHE_TIER_UNREACHABLE')) {
    if (errors.length > 0) throw first;
    return;
  }
  const unreached = errors.filter((error) => isCoordinationError(error, 'CACHE_TIER_UNREACHABLE'));
  const keys = unreached.flatMap((error) => error.details.keys);
  const message = `${keys.length} of ${writes.length} keys: ${first.message}`;
  const details = { tier: first.details.tier, keys };
  throw new CoordinationError('CACHE_TIER_UNREACHABLE', message, details, { cause: first });
}
