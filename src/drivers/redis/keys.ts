import { percentEncode } from '../../core/percent.js';
import { invalidArgument } from '../../core/validate.js';

/** Which part of tricord owns a key; it stands in the key's name. */
export type RedisArea =
  | 'lock'
  | 'quorum'
  | 'log'
  | 'call'
  | 'participant'
  | 'barrier'
  | 'cache'
  | 'fence'
  | 'site';

/** The deployment's name when none was given. */
export const NAMESPACE_DEFAULT = 'default';

const NAMESPACE = /^[\w.-]{1,64}$/;
/** Written as they are. Braces are not among them: they would move the slot tag. */
const PLAIN = /^[\w.:@-]*$/;

/** Makes the key names of one area of one namespace: `tricord:‹namespace›:‹area›:{‹tag›}‹suffix›`. */
export interface RedisKeys {
  /**
   * The key of something. All keys with one tag live in one slot of a cluster, whatever the suffix.
   * The tag is any well-formed text; a suffix is our own and begins with `:`.
   */
  key(tag: string, suffix?: string): string;
  /** A name without a slot tag, for a pub/sub channel. It does not hold the client's keyPrefix. */
  channel(name: string): string;
}

/**
 * The keys of an area. Different tags give different keys: every byte of a tag outside
 * `A–Z a–z 0–9 _ . : @ -` is percent-encoded, so braces, spaces, newlines and emoji are safe.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a namespace outside 1 to 64 of `[A-Za-z0-9_.-]`.
 */
export function redisKeys(area: RedisArea, namespace: string = NAMESPACE_DEFAULT): RedisKeys {
  assertNamespace(namespace);
  const prefix = `tricord:${namespace}:${area}:`;
  return {
    key: (tag, suffix = '') => `${prefix}{${encodeTag(tag)}}${suffix}`,
    channel: (name) => `${prefix}${encodeTag(name)}`,
  };
}

/** Checks the namespace of a deployment. */
export function assertNamespace(namespace: unknown): asserts namespace is string {
  if (typeof namespace !== 'string' || !NAMESPACE.test(namespace)) {
    throw invalidArgument('namespace', namespace, '1 to 64 characters of [A-Za-z0-9_.-]');
  }
}

/** The text with every byte that is not plain as `%XX`; injective. */
export function encodeTag(text: string): string {
  return percentEncode(text, PLAIN);
}

/** The text that {@link encodeTag} was given. */
export function decodeTag(tag: string): string {
  return tag.includes('%') ? decodeURIComponent(tag) : tag;
}

/** What of a complete key a cluster hashes: the text in its first braces, if any, else all of it. */
export function hashTagOf(key: string): string {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  return close > open + 1 ? key.slice(open + 1, close) : key;
}
