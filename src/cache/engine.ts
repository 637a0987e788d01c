import { abortable, sleep } from '../core/abort.js';
import { closedError } from '../core/errors.js';
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
import { allOrTold, getMany, getOrLoadMany, uniqueKeys } from './batches.js';
import type { Cache, CacheCallOptions } from './cache.js';
import { type Deck, newDeck } from './deck.js';
import { type PutTaken, withInside } from './deck-registry.js';
import { failLooks } from './looking.js';
import { cacheReader } from './reading.js';
import { strictDeckOf, strictWriter } from './strict-writing.js';
import type { CacheSettings } from './tiers.js';
import { wrapWith } from './wrap.js';
import { cacheWriter } from './writing.js';

const DRAIN_MS_DEFAULT = 5_000;
/** So many tags are invalidated in one call. */
const TAGS_INVALIDATED_MAX = 1_000;

/** The engine: everything that is true for every backend. */
export function cacheEngine<Value>(settings: CacheSettings): Cache<Value> {
  const deck = newDeck(settings);
  const { gate } = deck;
  const reader = cacheReader(deck);
  const strict = strictDeckOf(deck);
  const plain = cacheWriter(deck);
  const writer = strict === undefined ? plain : strictWriter(deck, strict, plain);
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

  const removeOne: Cache<Value>['delete'] = async (key, options) => {
    assertKey(key);
    return write(options, (given) => writer.delete(key, given));
  };

  const put: PutTaken = async (key, taken, options) => {
    assertKey(key);
    return write(options, (given) => writer.set(key, taken, given));
  };

  const cache: Cache<Value> = {
    name: settings.name,
    get: typed.get,
    peek: typed.peek,
    has: typed.has,
    getOrLoad: typed.getOrLoad,
    async getMany(keys, options) {
      return (await getMany(reader, keys, options)) as Map<string, Value>;
    },
    async getOrLoadMany(keys, loadMany, options) {
      const request = { loadMany, options };
      return (await getOrLoadMany(deck, reader, keys, request)) as Map<string, Value>;
    },
    async set(key, value, options) {
      return put(key, newEntry(deck, key, value), options);
    },
    async setMany(pairs, options) {
      assertIterable('entries', pairs);
      const entries = Array.from(
        pairs,
        ([key, value]) => [key, newEntry(deck, key, value)] as const,
      );
      return write(options, (given) =>
        allOrTold(entries.map(([key, entry]) => writer.set(key, entry, given))),
      );
    },
    delete: removeOne,
    async deleteMany(keys, options) {
      const each = uniqueKeys(keys);
      return write(options, (given) => allOrTold(each.map((key) => writer.delete(key, given))));
    },
    async touch(key, options) {
      assertKey(key);
      return write(options, (given) => writer.touch(key, given));
    },
    wrap: (fn, options) =>
      wrapWith({ getOrLoad: reader.getOrLoad as never, delete: removeOne }, fn, options),
    async update(key, commit, options) {
      assertKey(key);
      assertFunction('commit', commit);
      const given = callOptions(deck, options);
      const { signal } = given;
      // The signal reaches the commit only: what was committed must be followed by its invalidation.
      const entry = options?.value === undefined ? undefined : newEntry(deck, key, options.value);
      return gate.run(() => writer.update(key, () => commit({ signal }), given, entry));
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
  return withInside(cache, { deck, put });
}

async function end(deck: Deck, drainMs: number): Promise<void> {
  const { gate, flights, tiers, settings, refreshes, statistics } = deck;
  // Nobody waits for what goes on in the background.
  refreshes.ending.abort(closedError(`cache ${settings.name}`));
  const ending = await gate.close(drainMs);
  if (ending === 'timed-out') {
    failLooks(deck, closedError(`cache ${settings.name}`));
    for (const flight of Array.from(flights.values())) {
      flight.fail(closedError(`cache ${settings.name}`));
    }
    // Their loads end now and give back their leases; these requests still leave.
    await sleep(settings.clock, 0);
  }
  statistics.close();
  await tiers.close();
}
