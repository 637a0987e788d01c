import { createHash } from 'node:crypto';
import type { TextEncoding } from '../../cache/driver.js';
import { percentEncode } from '../../core/percent.js';
import { invalidArgument } from '../../core/validate.js';

/** The name of an item in Memcached. */
export interface ItemKey {
  /** What the server calls it: at most 250 bytes without spaces and control characters. */
  readonly text: string;
  /**
   * ‹bytes of the key›`:`‹key›, when `text` holds only its digest: it then stands in the item too, as
   * its bytes.
   */
  readonly whole: string | undefined;
}

/** The names of one cache's items. */
export interface MemcachedKeys {
  item(key: string): ItemKey;
  /** The item with the cache's generation, one on each server. */
  readonly generation: string;
  /** The item with the version of a tag. */
  tag(tag: string): string;
  /** The item with the epoch of the cache's tags. */
  readonly epoch: string;
}

const NAMESPACE = /^[\w.-]{1,64}$/;
const PLAIN = /^[\w.:@-]*$/;
/** The server refuses longer ones. */
const KEY_BYTES_MAX = 250;

/**
 * `tricord:‹namespace›:‹name›:k:‹key›` is the item of a key, `…:g` the generation, `…:t:‹tag›` the
 * version of a tag and `…:e` the epoch of all tags. A key whose item
 * would be longer than the server allows is replaced by its SHA-256; the item then holds the whole
 * key, which is compared on every read.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a namespace outside 1 to 64 of `[A-Za-z0-9_.-]`.
 */
export function memcachedKeys(
  name: string,
  namespace: string,
  encoding: TextEncoding = 'utf8',
): MemcachedKeys {
  if (!NAMESPACE.test(namespace)) {
    throw invalidArgument('namespace', namespace, '1 to 64 characters of [A-Za-z0-9_.-]');
  }
  const cacheName = encodeText(name).replaceAll(':', '%3A');
  const shortName = cacheName.length <= 80 ? cacheName : `%${digestOf(cacheName)}`;
  const prefix = `tricord:${namespace}:${shortName}:`;
  return {
    generation: `${prefix}g`,
    epoch: `${prefix}e`,
    tag(tag) {
      const text = `${prefix}t:${encodeText(tag)}`;
      return text.length <= KEY_BYTES_MAX ? text : `${prefix}d:${digestOf(tag)}`;
    },
    item(key) {
      const text = `${prefix}k:${encodeText(key)}`;
      if (text.length <= KEY_BYTES_MAX) return { text, whole: undefined };
      const whole = `${Buffer.byteLength(key)}:${Buffer.from(key).toString(encoding)}`;
      return { text: `${prefix}h:${digestOf(key)}`, whole };
    },
  };
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** The text with every byte that is not plain as `%XX`; injective. */
function encodeText(text: string): string {
  return percentEncode(text, PLAIN);
}
