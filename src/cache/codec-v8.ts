import { types } from 'node:util';
import { deserialize, serialize } from 'node:v8';
import { notEncodable } from './codec-error.js';
import type { BytesCodec } from './codec-types.js';
import { isDirect, typeName } from './isolation.js';

/**
 * The structured clone of V8, as bytes: beside what the default carries also cycles and shared parts,
 * RegExp, Error, ArrayBuffer and all typed arrays, at about the default's speed and larger than JSON.
 * Refused with their path are instances of classes, which would come back as plain objects, functions,
 * symbols, and what else would be lost. Only V8 reads it: every process must run a Node.js that is not
 * older than the writer's.
 */
export const v8Codec: BytesCodec = {
  id: 'v8',
  form: 'bytes',
  encode(value) {
    assertWhole(value);
    return serialize(value);
  },
  decode: (bytes) => deserialize(bytes),
};

interface Part {
  readonly value: unknown;
  readonly path: string;
}

/** Looks at every part once; no recursion, as a value may be as deep as it likes. */
function assertWhole(root: unknown): void {
  const seen = new Set<object>();
  const waiting: Part[] = [{ value: root, path: '' }];
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    const { value, path } = part;
    if (typeof value === 'function' || typeof value === 'symbol') {
      throw notEncodable(path, typeof value);
    }
    if (typeof value !== 'object' || value === null || seen.has(value)) continue;
    seen.add(value);
    waiting.push(...partsOf(value, path));
  }
}

/** What a value is made of; refuses what would not come back as it was. */
function partsOf(value: object, path: string): Part[] {
  if (!isKnown(value)) throw notEncodable(path, typeName(value));
  if (Object.getOwnPropertySymbols(value).length > 0) throw notEncodable(path, 'symbol as a name');
  if (ArrayBuffer.isView(value)) return [];
  if (types.isMap(value)) {
    return Array.from(value).flatMap(([key, item]) => [
      { value: key, path: `${path}{key}` },
      { value: item, path: `${path}{${String(key)}}` },
    ]);
  }
  if (types.isNativeError(value)) return [{ value: value.cause, path: `${path}.cause` }];
  if (types.isSet(value))
    return Array.from(value, (item) => ({ value: item, path: `${path}{item}` }));
  const isList = Array.isArray(value);
  return Object.entries(value).map(([name, item]) => ({
    value: item,
    path: path + (isList ? `[${name}]` : `.${name}`),
  }));
}

const PROTOTYPES: ReadonlySet<unknown> = new Set([
  Date.prototype,
  RegExp.prototype,
  Map.prototype,
  Set.prototype,
  ArrayBuffer.prototype,
  Buffer.prototype,
  DataView.prototype,
  ...[Uint8Array, Int8Array, Uint8ClampedArray, Uint16Array, Int16Array].map(prototypeOf),
  ...[Uint32Array, Int32Array, Float32Array, Float64Array].map(prototypeOf),
  ...[BigInt64Array, BigUint64Array].map(prototypeOf),
  ...[Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map(
    prototypeOf,
  ),
]);

function prototypeOf(maker: { readonly prototype: unknown }): unknown {
  return maker.prototype;
}

function isKnown(value: object): boolean {
  if (Array.isArray(value)) return isDirect(value, 2);
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = isDirect(value, 1) && Object.hasOwn(prototype as object, 'isPrototypeOf');
  if (isPlain) return true;
  // The others lose what else they were given.
  const hasMore = !ArrayBuffer.isView(value) && Object.keys(value).length > 0;
  return PROTOTYPES.has(prototype) && !hasMore;
}
