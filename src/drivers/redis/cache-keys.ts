import { keyPrefixOf, type RedisClient } from './client.js';
import { decodeTag, encodeTag, NAMESPACE_DEFAULT } from './keys.js';

/** The names of one cache's keys in Redis. */
export interface CacheKeys {
  /** The key of an entry. */
  entry(key: string): string;
  /** The key of an entry and the key of its claim, which live in one slot of a cluster. */
  pair(key: string): readonly [entry: string, claim: string];
  /** The key of the claim of an entry, by the entry's own. */
  claimOf(entryName: string): string;
  /** The key of the newest fencing token of a key, in the same slot. */
  fence(key: string): string;
  /** The key of a tag's version. */
  tag(tag: string): string;
  /** The key of the cache's generation: entries of another one are from before a `clear`. */
  readonly generation: string;
  /** The key of the epoch of its tags, in the same slot. */
  readonly epoch: string;
  /** What the whole names of entries and versions begin with, keyPrefix included, which tracking does not add. */
  readonly trackedPrefixes: readonly string[];
  /** What a whole name stands for; undefined for what nobody keeps a copy of. */
  told(name: string): ToldName | undefined;
  /** The channel of ended leases, with the keyPrefix, which no channel gets by itself. */
  readonly channel: string;
  /** The same of changes that their writers tell. */
  readonly newsChannel: string;
}

/** What has changed: an entry, a tag, or the generation, and with it everything. */
export type ToldName =
  | { readonly kind: 'entry' | 'tag'; readonly name: string }
  | { readonly kind: 'generation' };

/**
 * `tricord:‹namespace›:cache:‹name›:{‹key›}` holds the entry; the claim stands under
 * `…:cache-claim:…`, so that whoever tracks entries by their prefix does not hear of every lease.
 * `…:cache-version:‹name›:{tag:‹tag›}` is the version of a tag.
 */
export function cacheKeys(
  client: RedisClient,
  name: string,
  namespace: string = NAMESPACE_DEFAULT,
): CacheKeys {
  const clientPrefix = keyPrefixOf(client);
  // A colon in the name would make two pairs of name and key one.
  const cacheName = encodeTag(name).replaceAll(':', '%3A');
  const prefixOf = (kind: string): string => `tricord:${namespace}:${kind}:${cacheName}:`;
  const entries = prefixOf('cache');
  const claims = prefixOf('cache-claim');
  const fences = prefixOf('cache-fence');
  const versions = prefixOf('cache-version');
  const generation = `${versions}{all}:generation`;
  return {
    entry: (key) => `${entries}{${encodeTag(key)}}`,
    pair(key) {
      const tag = `{${encodeTag(key)}}`;
      return [entries + tag, claims + tag];
    },
    claimOf: (entryName) => claims + entryName.slice(entries.length),
    fence: (key) => `${fences}{${encodeTag(key)}}`,
    tag: (tag) => `${versions}{tag:${encodeTag(tag)}}`,
    generation,
    epoch: `${versions}{all}:epoch`,
    trackedPrefixes: [clientPrefix + entries, clientPrefix + versions],
    told(name) {
      if (name === clientPrefix + generation) return { kind: 'generation' };
      const key = within(name, `${clientPrefix}${entries}{`);
      if (key !== undefined) return { kind: 'entry', name: decodeTag(key) };
      const tag = within(name, `${clientPrefix}${versions}{tag:`);
      return tag === undefined ? undefined : { kind: 'tag', name: decodeTag(tag) };
    },
    channel: `${clientPrefix}tricord:${namespace}:cache-wake:${cacheName}`,
    newsChannel: `${clientPrefix}tricord:${namespace}:cache-news:${cacheName}`,
  };
}

/** What stands between a beginning and the closing brace. */
function within(name: string, beginning: string): string | undefined {
  if (!name.startsWith(beginning) || !name.endsWith('}')) return undefined;
  return name.slice(beginning.length, -1);
}
