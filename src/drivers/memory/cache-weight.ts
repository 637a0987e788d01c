// What values weigh, roughly as V8 keeps them on 64 bits: every object has a head of three words, and
// every property, item or reference one word.

const WORD = 8;
const HEAD = 3 * WORD;
/** A slot of the store and of its index, and the cache's note on the value. */
const ENTRY = 128;
/** A pair in a Map, an item in a Set: with their share of the hash table. */
const PAIR = 4 * WORD;

/** About how many bytes of memory an entry takes, its key and its place in the cache included. */
export function weightOf(key: string, value: unknown): number {
  return ENTRY + textBytes(key) + bytesOf(value);
}

function bytesOf(value: unknown): number {
  switch (typeof value) {
    case 'string':
      return textBytes(value);
    case 'bigint':
      return HEAD;
    case 'number':
      // Small whole numbers stand in the reference itself.
      return (value | 0) === value ? 0 : 2 * WORD;
    case 'object':
      return value === null ? 0 : bytesOfObject(value);
    default:
      return 0;
  }
}

function bytesOfObject(value: object): number {
  if (ArrayBuffer.isView(value)) return 12 * WORD + value.byteLength;
  let bytes = HEAD;
  if (Array.isArray(value)) {
    bytes += 2 * WORD;
    for (const item of value) bytes += WORD + bytesOf(item);
  } else if (value instanceof Map) {
    bytes += PAIR;
    for (const [key, item] of value) bytes += PAIR + bytesOf(key) + bytesOf(item);
  } else if (value instanceof Set) {
    bytes += PAIR;
    for (const item of value) bytes += PAIR + bytesOf(item);
  } else {
    for (const item of Object.values(value)) bytes += WORD + bytesOf(item);
  }
  return bytes;
}

/** Texts of Latin-1 take one byte a character, others two; which, is not worth a look at each. */
function textBytes(text: string): number {
  return 2 * WORD + text.length;
}
