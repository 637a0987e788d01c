import { throwIfAborted } from '../core/abort.js';
import { CoordinationError } from '../core/errors.js';
import { parseFencingToken } from '../core/fencing-token.js';
import {
  assertName,
  assertNumber,
  assertResourceId,
  assertTtlMs,
  invalidArgument,
} from '../core/validate.js';
import type { Authority } from './authority.js';
import type { CacheFencedOptions, CacheReadOptions, CacheWriteOptions } from './cache.js';
import type { Deck } from './deck.js';
import type { Isolated } from './isolation.js';

/** The options of a call, complete. */
export interface CallOptions {
  readonly ttlMs: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** The fencing token of a write. */
  readonly fence: bigint | undefined;
  /** Each once. */
  readonly tags: readonly string[];
  /** The read sees what was acknowledged before it. */
  readonly isLinearizable: boolean;
}

const NO_TAGS: readonly string[] = [];
const TAG_BYTES_MAX = 256;
const TAGS_MAX = 64;

/** Checks the options of a call, fills in the cache's, and throws if the signal is aborted. */
export function callOptions(
  { settings, tiers: { authority } }: TaggedDeck,
  options: (CacheWriteOptions & CacheFencedOptions & CacheReadOptions) | undefined,
): CallOptions {
  if (options === undefined) {
    const { ttlMs, timeoutMs } = settings;
    const { isSynced } = settings;
    return {
      ttlMs,
      timeoutMs,
      signal: undefined,
      fence: undefined,
      tags: NO_TAGS,
      isLinearizable: isSynced,
    };
  }
  const { ttlMs = settings.ttlMs, timeoutMs = settings.timeoutMs, signal } = options;
  const { fencingToken, tags = NO_TAGS, consistency } = options;
  assertTtlMs(ttlMs);
  assertNumber('timeoutMs', timeoutMs, { min: 1 });
  const fence =
    fencingToken === undefined ? undefined : parseFencingToken(fencingToken, 'fencingToken');
  if (tags !== NO_TAGS) assertTags({ settings, tiers: { authority } }, tags);
  const isLinearizable = consistency === 'linearizable' || settings.isSynced;
  if (consistency !== undefined && consistency !== 'linearizable') {
    throw invalidArgument('consistency', consistency, "'linearizable', or nothing");
  }
  throwIfAborted(signal);
  const each = tags.length > 1 ? Array.from(new Set(tags)) : tags;
  return { ttlMs, timeoutMs, signal, fence, tags: each, isLinearizable };
}

/** What of a deck tells whether there are tags. */
type TaggedDeck = Pick<Deck, 'settings'> & {
  readonly tiers: { readonly authority: Pick<Authority, 'tags'> };
};

/** Checks tags, and that the last tier has them. */
export function assertTags(
  { settings, tiers: { authority } }: TaggedDeck,
  tags: unknown,
  max: number = TAGS_MAX,
): asserts tags is readonly string[] {
  if (!Array.isArray(tags) || tags.length > max) {
    throw invalidArgument('tags', tags, `an array of at most ${max} tags`);
  }
  for (const tag of tags) assertName('tags', tag, TAG_BYTES_MAX);
  if (authority.tags !== undefined) return;
  const backend = settings.tiers.at(-1)?.backend ?? '';
  const found = 'no tags';
  const needed = 'a last tier that has them, or no tags';
  const message = `${backend} has no tags for entries; needed is ${needed}`;
  const details = { backend, setting: 'tags', found, needed };
  throw new CoordinationError('BACKEND_UNSUPPORTED', message, details);
}

/** Checks a cache's key. */
export function assertKey(key: unknown): asserts key is string {
  assertResourceId(key, 'key');
}

/** Checks what is iterated over; a text is none, although its characters could be. */
export function assertIterable(argument: string, value: unknown): void {
  const isIterable = typeof value === 'object' && value !== null && Symbol.iterator in value;
  if (!isIterable) throw invalidArgument(argument, value, 'an array, a Set or another iterable');
}

export function assertFunction(argument: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidArgument(argument, value, 'a function');
}

/** Checks what is to be stored, and copies it. */
export function newEntry(
  { settings }: Pick<Deck, 'settings'>,
  key: unknown,
  value: unknown,
): Isolated {
  assertKey(key);
  if (value === undefined) {
    throw invalidArgument('value', value, 'a value other than undefined, or call delete(key)');
  }
  return settings.values.take(key, value);
}
