import { invalidArgument } from '../core/validate.js';
import { contentOf, decodeValue, encodeValue } from './codec.js';
import { refusedBy, UnreadableError } from './codec-error.js';
import { jsonCodec } from './codec-json.js';
import type { Codec } from './codec-types.js';
import type { LocalValue, TextEncoding } from './driver.js';
import { ofOther, opened, otherCodecOf, sealed } from './envelope.js';
import { type CacheIsolation, frozenWhole, type Isolated, isolate, thawed } from './isolation.js';

/** How the values of one cache enter it, stand in a shared tier, and leave it. */
export interface CacheValues {
  /** How the texts of a shared tier stand as bytes. */
  readonly encoding: TextEncoding;
  /** Whether nobody can change what several readers are given. */
  readonly isFrozen: boolean;
  /**
   * What the cache keeps of a value that a writer or a loader gave.
   *
   * @throws CoordinationError CACHE_VALUE_UNSUPPORTED
   */
  take(key: string, value: unknown): Isolated;
  encode(isolated: Isolated): string;
  /**
   * What a text of a shared tier says.
   *
   * @throws UnreadableError, and CoordinationError UPGRADE_NEEDED and DATA_CORRUPT.
   */
  decode(where: () => string, text: string): LocalValue;
}

/** What decides how values are treated. */
export interface ValueOptions {
  readonly codec?: Codec | undefined;
  readonly isolation?: CacheIsolation | undefined;
  /** Whether there is a shared tier. */
  readonly isShared: boolean;
}

const ID = /^[a-z0-9._+-]{1,32}$/;

/** Checks the options; the default of both is what is fastest without harm. */
export function valuesOf({ codec, isolation = 'frozen', isShared }: ValueOptions): CacheValues {
  if (!['frozen', 'cloned', 'none'].includes(isolation)) {
    throw invalidArgument('isolation', isolation, "'frozen', 'cloned' or 'none'");
  }
  if (codec === undefined || codec === jsonCodec) return plainValues(isolation, isShared);
  const { id, form, encode, decode } = Object(codec) as Partial<Codec>;
  const isCodec = typeof encode === 'function' && typeof decode === 'function';
  if (!isCodec || (form !== 'text' && form !== 'bytes')) {
    throw invalidArgument('codec', codec, "{ id, form: 'text' or 'bytes', encode, decode }");
  }
  if (typeof id !== 'string' || !ID.test(id) || id === jsonCodec.id) {
    throw invalidArgument('codec.id', id, "1 to 32 of [a-z0-9._+-], other than 'json'");
  }
  return codedValues(codec, isolation, isShared);
}

/** Plain data, as tagged JSON. */
function plainValues(isolation: CacheIsolation, isShared: boolean): CacheValues {
  const isFrozen = isolation === 'frozen';
  const base = { encoding: 'utf8', encode: encodeValue, isFrozen } as const;
  const decode = (where: () => string, text: string, isFreezing: boolean): LocalValue => {
    const other = text.startsWith('[2,') ? otherCodecOf(text) : undefined;
    if (other !== undefined) throw ofOther(other);
    return decodeValue(where, text, isFreezing);
  };
  switch (isolation) {
    case 'frozen':
      return { ...base, take: isolate, decode: (where, text) => decode(where, text, true) };
    case 'cloned':
      return {
        ...base,
        take: (key, value) => cloning(isolate(key, value)),
        decode: (where, text) => cloning(decode(where, text, true)),
      };
    case 'none':
      return {
        ...base,
        // What is sent is as of now, whatever becomes of the object.
        take(_key, value) {
          if (!isShared) return { value, isBare: true, isShareable: true };
          const own = isolate(_key, value);
          return { value, isBare: own.isBare, isShareable: true, encoded: contentOf(own) };
        },
        decode: (where, text) => ({ ...decode(where, text, false), isShareable: true }),
      };
  }
}

/** The same value, of which every reader gets a copy that it may change. */
function cloning<Local extends LocalValue>(local: Local): Local {
  const { value } = local;
  const isObject = typeof value === 'object' && value !== null;
  return isObject ? { ...local, isShareable: false, copy: thawed } : local;
}

/** Whatever a codec encodes. */
function codedValues(codec: Codec, isolation: CacheIsolation, isShared: boolean): CacheValues {
  const { encodeText, decodeText } = textually(codec);
  /** What is kept of a text, of which a first value was made. */
  const kept = (text: string, first: unknown): LocalValue => {
    if (isolation === 'none') return { value: first, isShareable: true };
    if (typeof first !== 'object' && typeof first !== 'function') {
      return { value: first, isShareable: true };
    }
    if (isolation === 'frozen' && frozenWhole(first)) return { value: first, isShareable: true };
    let unused: unknown = first;
    const copy = (): unknown => {
      const value = unused === undefined ? decodeText(text) : unused;
      unused = undefined;
      return value;
    };
    return { value: text, isShareable: false, copy };
  };
  return {
    encoding: codec.form === 'bytes' ? 'latin1' : 'utf8',
    isFrozen: isolation === 'frozen',
    take(key, value) {
      if (isolation === 'none' && !isShared) return { value, isBare: true, isShareable: true };
      try {
        const encoded = encodeText(value);
        if (isolation === 'none') return { value, isBare: true, isShareable: true, encoded };
        return { ...kept(encoded, decodeText(encoded)), isBare: true, encoded };
      } catch (error) {
        throw refusedBy(codec.id, key, error);
      }
    },
    encode: (isolated) => sealed(codec, isolated.encoded ?? '', isolated),
    decode(where, text) {
      const { content, noted } = opened(codec, where, text);
      if (noted.isAbsent) return { value: undefined, isShareable: true, ...noted };
      return { ...kept(content, decodedOr(codec, decodeText, content)), ...noted };
    },
  };
}

function decodedOr(codec: Codec, decodeText: (text: string) => unknown, content: string): unknown {
  try {
    return decodeText(content);
  } catch (error) {
    const isTooLarge = Object(error).code === 'ERR_BUFFER_TOO_LARGE';
    const reason = isTooLarge ? 'too-large' : 'not-decoded';
    throw new UnreadableError({ reason, codec: codec.id, error });
  }
}

/** A codec in texts: bytes stand as characters of Latin-1. What it gives is checked. */
function textually(codec: Codec) {
  const expect = (isRight: boolean, what: string): void => {
    if (!isRight) throw new TypeError(what);
  };
  const decoded = (value: unknown): unknown => {
    expect(value !== undefined, `the codec ${codec.id} made undefined of it`);
    return value;
  };
  if (codec.form === 'text') {
    return {
      encodeText(value: unknown): string {
        const text: unknown = codec.encode(value);
        expect(typeof text === 'string', `the codec ${codec.id} gave no text`);
        return text as string;
      },
      decodeText: (text: string): unknown => decoded(codec.decode(text)),
    };
  }
  return {
    encodeText(value: unknown): string {
      const bytes: unknown = codec.encode(value);
      expect(bytes instanceof Uint8Array, `the codec ${codec.id} gave no bytes`);
      const { buffer, byteOffset, byteLength } = bytes as Uint8Array;
      return Buffer.from(buffer, byteOffset, byteLength).toString('latin1');
    },
    decodeText(text: string): unknown {
      // Memory of its own: what is decoded may be views of it.
      const bytes = Buffer.allocUnsafeSlow(text.length);
      bytes.write(text, 'latin1');
      return decoded(codec.decode(bytes));
    },
  };
}
