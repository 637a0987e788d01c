import { keyPrefixOf, type RedisClient } from './client.js';
import { decodeTag, encodeTag, NAMESPACE_DEFAULT } from './keys.js';

/** The names of one cache's keys in Redis. */
export interface CacheKeys {
  /** The key of an entry. */
  entry(key: string): string;
  /** The key of an entry and the key of its claim, which live in one slot of a cluster. */
  pair(key: string): readonly [entry: string, claim: string];
  /** The key of the newest fencing token of a key, in the same slot. */
  fence(key: string): string;
  /** Patterns for SCAN, with the client's keyPrefix, which SCAN does not add. */
  readonly entryPattern: string;
  readonly claimPattern: string;
  /** What every entry's whole name begins with, with the keyPrefix, which tracking does not add. */
  readonly trackedPrefix: string;
  /** The key of an entry by its whole name; undefined for what is no entry of this cache. */
  keyOf(name: string): string | undefined;
  /** A key as SCAN answers it, without the keyPrefix, which every other command adds. */
  withoutPrefix(key: string): string;
  /** The channel of ended leases, with the keyPrefix, which no channel gets by itself. */
  readonly channel: string;
}

/**
 * `tricord:‹namespace›:cache:‹name›:{‹key›}` holds the entry; the claim stands under
 * `…:cache-claim:…`, so that whoever tracks entries by their prefix does not hear of every lease.
 */
export function cacheKeys(
  client: RedisClient,
  name: string,
  namespace: string = NAMESPACE_DEFAULT,
): CacheKeys {
  const clientPrefix = keyPrefixOf(client);
  // A colon in the name would make two pairs of name and key one.
  const cacheName = encodeTag(name).replaceAll(':', '%3A');
  const entries = `tricord:${namespace}:cache:${cacheName}:`;
  const claims = `tricord:${namespace}:cache-claim:${cacheName}:`;
  const fences = `tricord:${namespace}:cache-fence:${cacheName}:`;
  const pattern = (prefix: string): string => `${escapeGlob(clientPrefix + prefix)}*`;
  return {
    entry: (key) => `${entries}{${encodeTag(key)}}`,
    pair(key) {
      const tag = `{${encodeTag(key)}}`;
      return [entries + tag, claims + tag];
    },
    fence: (key) => `${fences}{${encodeTag(key)}}`,
    trackedPrefix: clientPrefix + entries,
    keyOf(name) {
      const begin = `${clientPrefix}${entries}{`;
      if (!name.startsWith(begin) || !name.endsWith('}')) return undefined;
      return decodeTag(name.slice(begin.length, -1));
    },
    entryPattern: pattern(entries),
    claimPattern: pattern(claims),
    withoutPrefix: (key) => key.slice(clientPrefix.length),
    channel: `${clientPrefix}tricord:${namespace}:cache-wake:${cacheName}`,
  };
}

function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, '\\$&');
}
