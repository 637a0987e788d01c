/**
 * How values stand in a shared tier: as texts or as bytes. All processes of a cache must use the same
 * codec; an entry of another one is a miss, told by `tricord:cache.unreadable`, and the next load takes
 * its place.
 *
 * ```ts
 * const msgpack: Codec = { id: 'msgpackr', form: 'bytes', encode: pack, decode: unpack };
 * ```
 */
export type Codec = TextCodec | BytesCodec;

/** A codec that writes texts. */
export interface TextCodec extends CodecId {
  /** It writes texts. */
  readonly form: 'text';
  /** The text of a value; see {@link CodecId}. */
  encode(value: unknown): string;
  /** The value of a text. What throws, or gives `undefined`, is a miss. */
  decode(text: string): unknown;
}

/** A codec that writes bytes. They stand in Redis, Memcached and ZooKeeper as they are. */
export interface BytesCodec extends CodecId {
  /** It writes bytes. */
  readonly form: 'bytes';
  /** The bytes of a value, which nobody changes any more; see {@link CodecId}. */
  encode(value: unknown): Uint8Array;
  /** The value of bytes. What throws, or gives `undefined`, is a miss. */
  decode(bytes: Uint8Array): unknown;
}

/**
 * What every codec has. `encode` and `decode` are synchronous and keep nothing of what they are given.
 *
 * An error that `encode` throws refuses the value with CACHE_VALUE_UNSUPPORTED before anything is sent;
 * the error's own `path` (`.items[3]`) and `type` are told, where it has them. What a codec loses
 * without an error is lost for all: what this process keeps in memory has passed the codec too, so
 * that readers get the same from every tier.
 */
export interface CodecId {
  /**
   * Stands in every entry, and tells whose it is: 1 to 32 of `[a-z0-9._+-]`. Take another one whenever
   * older entries cannot be read any more. `json` is the default's.
   */
  readonly id: string;
}
