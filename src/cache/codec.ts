import { CoordinationError } from '../core/errors.js';
import type { LocalValue } from './driver.js';
import { dateOf, type Isolated, setOwn } from './isolation.js';

/**
 * The text of a value in a shared tier: a JSON array `[format, value]`, or `[format, value, notes]`.
 *
 * | note | says |
 * |---|---|
 * | `"t":1` | some of the value's parts are *tagged*: objects with one property whose name begins with `$` |
 * | `"g":milliseconds` | for so long before its end the entry is stale |
 * | `"e":milliseconds` | for so long before that a refresh is due |
 * | `"s":[milliseconds,end]` | for so long from a hit it lasts, until so many milliseconds since 1970 |
 * | `"n":1` | the source has no value |
 * | `"v":[[tag,version],…]` | what it is invalidated by |
 *
 * | part | stands as |
 * |---|---|
 * | Date | `{"$date":milliseconds or null}` |
 * | bigint | `{"$bigint":"digits"}` |
 * | NaN, Infinity, -Infinity, -0 | `{"$number":"…"}` |
 * | undefined | `{"$undefined":1}` |
 * | Map, Set | `{"$map":[[key,value],…]}`, `{"$set":[…]}` |
 * | Uint8Array, Buffer | `{"$bytes":"base64"}`, `{"$buffer":"base64"}` |
 * | object without a prototype | `{"$null":{…}}` |
 * | plain object that looks like one of these | `{"$plain":{…}}` |
 *
 * Format 2 is that of all other codecs; see envelope.ts. A newer format begins with a larger number,
 * whatever follows; releases that know only these then refuse it with UPGRADE_NEEDED.
 */
const FORMAT = 1;
const FORMAT_MAX = 2;
const BEGINNING = `[${FORMAT},`;

/** What stands behind a value. */
export interface Notes {
  readonly t?: 1;
  readonly g?: number;
  readonly e?: number;
  readonly s?: readonly [ttlMs: number, endMs: number];
  readonly n?: 1;
  readonly v?: readonly (readonly [tag: string, version: string])[];
}

/** The text for a value that was isolated. */
export function encodeValue(isolated: Isolated): string {
  const { value, isBare, aging, isAbsent, tags, sliding, encoded } = isolated;
  const isTimed = aging !== undefined || sliding !== undefined;
  const isPlain = isBare && !isTimed && !isAbsent && tags === undefined;
  if (isPlain) return `${BEGINNING}${encoded ?? JSON.stringify(value)}]`;
  const notes: Notes = { ...(isBare ? undefined : { t: 1 }), ...notesOf(isolated) };
  const content = isAbsent ? 'null' : (encoded ?? contentOf(isolated));
  return `${BEGINNING}${content},${JSON.stringify(notes)}]`;
}

/** The JSON of a value that was isolated, without its format and its notes. */
export function contentOf({ value, isBare }: Pick<Isolated, 'value' | 'isBare'>): string {
  return JSON.stringify(isBare ? value : tag(value));
}

/** What every codec notes of an entry. */
export function notesOf({ aging, isAbsent, tags, sliding }: LocalValue): Notes {
  return {
    ...(aging && { g: Math.round(aging.graceMs), e: Math.round(aging.earlyMs) }),
    ...(sliding && { s: [sliding.ttlMs, sliding.endMs] as const }),
    ...(isAbsent ? { n: 1 } : undefined),
    ...(tags && { v: tags.map(({ tag, version }) => [tag, version] as const) }),
  };
}

/** What stands beside the value of an entry. */
export type Noted = Pick<LocalValue, 'aging' | 'isAbsent' | 'tags' | 'sliding'>;

/** What was noted of an entry. */
export function notedOf({ g, e, s, n, v }: Notes): Noted {
  const aging = g === undefined ? undefined : { graceMs: g, earlyMs: e ?? 0 };
  const tags = v?.map(([tag, version]) => ({ tag, version }));
  const sliding = s && { ttlMs: s[0], endMs: s[1] };
  return { ...(n === 1 && { isAbsent: true }), aging, tags, sliding };
}

/**
 * The value of a text, as the cache's own copy, frozen unless the cache is to hand out the copy itself.
 * `where` is asked only for an error.
 *
 * @throws CoordinationError UPGRADE_NEEDED for a newer format, DATA_CORRUPT for anything else that
 * {@link encodeValue} does not write.
 */
export function decodeValue(
  where: () => string,
  text: string,
  isFreezing: boolean = true,
): LocalValue {
  if (!text.startsWith(BEGINNING)) throw formatError(where(), text);
  try {
    // Not by destructuring, which iterates: this is the hot path of a shared tier.
    const parts = JSON.parse(text) as [number, unknown, Notes?];
    const notes = parts[2];
    if (notes === undefined) {
      return { value: isFreezing ? freeze(parts[1]) : parts[1], isShareable: true };
    }
    return decodeNoted(parts[1], notes, isFreezing);
  } catch (cause) {
    throw formatError(where(), text, cause);
  }
}

function decodeNoted(content: unknown, notes: Notes, isFreezing: boolean): LocalValue {
  const state = { isShareable: true, isFreezing };
  const noted = notedOf(notes);
  if (noted.isAbsent) return { value: undefined, isShareable: true, ...noted };
  if (notes.t === 1) {
    const value = untag(content, state);
    return { value, isShareable: state.isShareable, ...noted };
  }
  return { value: isFreezing ? freeze(content) : content, isShareable: true, ...noted };
}

/** The error for a text that nobody here has written: of a newer release, or of another program. */
export function formatError(where: string, text: string, cause?: unknown): CoordinationError {
  const format = /^\[(\d{1,9}),/.exec(text)?.[1];
  if (format !== undefined && Number(format) > FORMAT_MAX) {
    const message = `${where} is in format ${format}; this release reads up to format ${FORMAT_MAX}: upgrade it`;
    const details = { where, found: format, supported: String(FORMAT_MAX) };
    return new CoordinationError('UPGRADE_NEEDED', message, details);
  }
  const message = `${where} holds a text that no tricord cache wrote; delete the key`;
  const details = { where, found: text.slice(0, 40) };
  return new CoordinationError('DATA_CORRUPT', message, details, { cause });
}

function tag(value: unknown): unknown {
  if (typeof value === 'bigint') return { $bigint: String(value) };
  if (typeof value === 'undefined') return { $undefined: 1 };
  if (typeof value === 'number') return tagNumber(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(tag);
  if (value instanceof Map) {
    return { $map: Array.from(value, ([key, item]) => [tag(key), tag(item)]) };
  }
  if (value instanceof Set) return { $set: Array.from(value, tag) };
  if (Buffer.isBuffer(value)) return { $buffer: value.toString('base64') };
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') };
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null) return { $null: tagProperties(value) };
  if (prototype !== Object.prototype) return { $date: dateMs(value) };
  return looksTagged(value) ? { $plain: tagProperties(value) } : tagProperties(value);
}

function tagNumber(value: number): unknown {
  if (Object.is(value, -0)) return { $number: '-0' };
  return Number.isFinite(value) ? value : { $number: String(value) };
}

/** What is left after isolation and is no other kind is a Date. */
function dateMs(value: object): number | null {
  const ms = Number(value);
  return Number.isNaN(ms) ? null : ms;
}

function tagProperties(value: object): object {
  return mapProperties(value, {}, tag);
}

function mapProperties(from: object, to: object, each: (item: unknown) => unknown): object {
  for (const [name, item] of Object.entries(from)) setOwn(to, name, each(item));
  return to;
}

function looksTagged(value: object): boolean {
  const names = Object.keys(value);
  return names.length === 1 && names[0]?.startsWith('$') === true;
}

interface UntagState {
  readonly isFreezing: boolean;
  isShareable: boolean;
}

function untag(value: unknown, state: UntagState): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const each = (item: unknown): unknown => untag(item, state);
  const frozen = <Part>(part: Part): Part => (state.isFreezing ? Object.freeze(part) : part);
  if (Array.isArray(value)) return frozen(value.map(each));
  if (!looksTagged(value)) return frozen(mapProperties(value, {}, each));
  const [[name, content]] = Object.entries(value) as [[string, unknown]];
  switch (name) {
    case '$bigint':
      return BigInt(content as string);
    case '$number':
      return Number(content);
    case '$undefined':
      return undefined;
    case '$plain':
      return frozen(mapProperties(content as object, {}, each));
    case '$null':
      return frozen(mapProperties(content as object, Object.create(null) as object, each));
    default:
      state.isShareable = false;
      return untagUnfreezable(name, content, each);
  }
}

function untagUnfreezable(
  name: string,
  content: unknown,
  each: (item: unknown) => unknown,
): unknown {
  switch (name) {
    case '$date':
      return dateOf(content === null ? Number.NaN : (content as number));
    case '$map':
      return new Map(
        (content as [unknown, unknown][]).map(([key, item]) => [each(key), each(item)]),
      );
    case '$set':
      return new Set((content as unknown[]).map(each));
    case '$bytes':
      return new Uint8Array(Buffer.from(content as string, 'base64'));
    case '$buffer':
      return Buffer.from(content as string, 'base64');
    default:
      throw new TypeError(`unknown tag ${name}`);
  }
}

function freeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) for (const item of value) freeze(item);
  else for (const name in value) freeze((value as Record<string, unknown>)[name]);
  return Object.freeze(value);
}
