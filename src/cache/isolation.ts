import { types } from 'node:util';
import { CoordinationError } from '../core/errors.js';
import type { LocalValue } from './driver.js';

/** The cache's own copy of a value. */
export interface Isolated extends LocalValue {
  /** Whether JSON alone carries it exactly. */
  readonly isBare: boolean;
  /** What stands for it in a shared tier, where that was made already; never kept in memory. */
  readonly encoded?: string | undefined;
}

/**
 * What becomes of the objects that a cache keeps in this process, and of those that it answers.
 *
 * | | what is kept | what a reader gets |
 * |---|---|---|
 * | `frozen` | the cache's own copy, its plain objects and arrays frozen | that very copy; where a Date, Map, Set or byte array is among it, one of its own |
 * | `cloned` | the cache's own copy | one of its own, which it may change |
 * | `none` | in memory the very object that was given or decoded | that very object: who changes it changes the cache |
 */
export type CacheIsolation = 'frozen' | 'cloned' | 'none';

/** What is kept when the source has no value. */
export const ABSENT: Isolated = {
  value: undefined,
  isBare: true,
  isShareable: true,
  isAbsent: true,
};

/** Nesting deeper than this is refused: a walk must not exhaust the stack. */
const DEPTH_MAX = 500;

/**
 * Copies a value so that nobody outside can change the copy: plain objects and arrays come out
 * frozen, and where a Date, Map, Set, Buffer or Uint8Array is among them, which cannot be frozen,
 * the copy is marked to be copied again for each reader.
 *
 * @throws CoordinationError CACHE_VALUE_UNSUPPORTED, with the path, for what no tier could give back
 * as it was: instances of classes, functions, symbols, cycles, sparse or extended arrays.
 */
export function isolate(key: string, value: unknown): Isolated {
  const quick = quickCopy(value, 0);
  if (quick !== UNUSUAL) return { value: quick, isBare: true, isShareable: true };
  const walk = newWalk(key, true);
  const copy = copyOf(walk, value);
  return { value: copy, isBare: walk.isBare, isShareable: walk.isShareable };
}

/** Not only objects, arrays and what JSON carries by itself: the walk tells what it is. */
const UNUSUAL = Symbol('unusual');
/** Deeper values are rare, and may be cycles. */
const QUICK_DEPTH_MAX = 64;

/**
 * The frozen copy of what nearly all values are, without a trace of the way, which only a refusal
 * needs: every load and every write makes one.
 */
function quickCopy(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : UNUSUAL;
    case 'object':
      if (value === null) return null;
      if (depth === QUICK_DEPTH_MAX) return UNUSUAL;
      return Array.isArray(value) ? quickArray(value, depth) : quickObject(value, depth);
    default:
      return UNUSUAL;
  }
}

function quickArray(value: readonly unknown[], depth: number): unknown {
  if (Object.getPrototypeOf(value) !== Array.prototype) return UNUSUAL;
  if (Object.keys(value).length !== value.length) return UNUSUAL;
  const copy: unknown[] = [];
  for (const item of value) {
    const own = quickCopy(item, depth + 1);
    if (own === UNUSUAL) return UNUSUAL;
    copy.push(own);
  }
  return Object.freeze(copy);
}

function quickObject(value: object, depth: number): unknown {
  if (Object.getPrototypeOf(value) !== Object.prototype) return UNUSUAL;
  if (Object.getOwnPropertySymbols(value).length > 0) return UNUSUAL;
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(value)) {
    const own = quickCopy((value as Record<string, unknown>)[name], depth + 1);
    // Assignment would obey this name, which here is data.
    if (own === UNUSUAL || name === '__proto__') return UNUSUAL;
    copy[name] = own;
  }
  return Object.freeze(copy);
}

/** What a reader gets: the value itself where nobody can change it, else a copy of its own. */
export function handOut(key: string, local: LocalValue): unknown {
  if (local.isShareable) return local.value;
  return local.copy === undefined ? isolate(key, local.value).value : local.copy(local.value);
}

/** The value as memory keeps it: without what a shared tier was sent. */
export function inMemory(isolated: Isolated): Isolated {
  return isolated.encoded === undefined ? isolated : { ...isolated, encoded: undefined };
}

/** A copy of an isolated value of which nothing is frozen. */
export function thawed(value: unknown): unknown {
  return copyOf(newWalk('', false), value);
}

/** Freezes all of a value that nobody else has; false: not all of it can be frozen. */
export function frozenWhole(value: unknown): boolean {
  const seen = new Set<object>();
  const waiting: unknown[] = [value];
  while (waiting.length > 0) {
    const item = waiting.pop();
    if (typeof item === 'function') return false;
    if (typeof item !== 'object' || item === null || seen.has(item)) continue;
    if (!isPlain(item)) return false;
    seen.add(item);
    for (const each of Object.values(item)) waiting.push(each);
  }
  for (const each of seen) Object.freeze(each);
  return true;
}

function isPlain(value: object): boolean {
  if (Object.getOwnPropertySymbols(value).length > 0) return false;
  if (Array.isArray(value)) return isDirect(value, 2);
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function newWalk(key: string, isFreezing: boolean): Walk {
  return { key, isFreezing, path: [], ancestors: [], isBare: true, isShareable: true };
}

/** One step into a value: a property, an index, or a text that is shown as it is. */
type Segment = string | number | readonly [text: string];

interface Walk {
  readonly key: string;
  readonly isFreezing: boolean;
  readonly path: Segment[];
  readonly ancestors: object[];
  isBare: boolean;
  isShareable: boolean;
}

function copyOf(walk: Walk, value: unknown): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      // JSON has no NaN and no infinity, and writes -0 as 0.
      if (!Number.isFinite(value) || Object.is(value, -0)) walk.isBare = false;
      return value;
    case 'bigint':
    case 'undefined':
      walk.isBare = false;
      return value;
    case 'object':
      return value === null ? null : copyOfObject(walk, value);
    case 'function':
      return refuse(walk, 'function');
    case 'symbol':
      return refuse(walk, 'symbol');
  }
}

function copyOfObject(walk: Walk, value: object): unknown {
  if (walk.ancestors.includes(value)) return refuse(walk, 'cycle');
  if (walk.ancestors.length === DEPTH_MAX) return refuse(walk, `nesting of over ${DEPTH_MAX}`);
  walk.ancestors.push(value);
  const copy = Array.isArray(value) ? copyOfArray(walk, value) : copyOfOther(walk, value);
  walk.ancestors.pop();
  return copy;
}

function copyOfArray(walk: Walk, value: readonly unknown[]): readonly unknown[] {
  if (!isDirect(value, 2)) return refuse(walk, typeName(value));
  // One check for holes and for named properties, both of which JSON loses.
  if (Object.keys(value).length !== value.length) return refuse(walk, 'sparse or extended array');
  // Not by the array's own `map`, which would make an array of its realm.
  const copy = Array.from(value, (item, index) => childOf(walk, index, item));
  return walk.isFreezing ? Object.freeze(copy) : copy;
}

function copyOfOther(walk: Walk, value: object): unknown {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype) return copyOfPlain(walk, value, {});
  // Plain too, but of another realm: of a worker's message, a vm context, a test runner.
  if (isDirect(value, 1) && Object.hasOwn(prototype as object, 'isPrototypeOf')) {
    return copyOfPlain(walk, value, {});
  }
  walk.isBare = false;
  if (prototype === null) return copyOfPlain(walk, value, Object.create(null) as object);
  walk.isShareable = false;
  if (prototype === Buffer.prototype) return Buffer.from(value as Buffer);
  if (types.isUint8Array(value) && isDirect(value, 3)) return new Uint8Array(value);
  if (Object.keys(value).length > 0 || !isDirect(value, 2)) return refuse(walk, typeName(value));
  if (types.isDate(value)) return dateOf(value.getTime());
  if (types.isMap(value)) return copyOfMap(walk, value);
  if (types.isSet(value)) {
    return new Set(Array.from(value, (item) => childOf(walk, ['{item}'], item)));
  }
  return refuse(walk, typeName(value));
}

/** Whether a value is a direct instance of a built-in, whose own chain of prototypes is so long. */
export function isDirect(value: object, prototypeCount: number): boolean {
  let prototype: unknown = value;
  for (let i = 0; i <= prototypeCount && prototype !== null; i += 1) {
    prototype = Object.getPrototypeOf(prototype);
    if (prototype === null) return i === prototypeCount;
  }
  return false;
}

function copyOfMap(walk: Walk, value: ReadonlyMap<unknown, unknown>): unknown {
  const pairs = Array.from(value, ([key, item]): [unknown, unknown] => {
    const shown = typeof key === 'string' ? JSON.stringify(key) : typeof key;
    return [childOf(walk, ['{key}'], key), childOf(walk, [`{${shown}}`], item)];
  });
  return new Map(pairs);
}

function copyOfPlain(walk: Walk, value: object, copy: object): object {
  if (Object.getOwnPropertySymbols(value).length > 0) return refuse(walk, 'symbol as a name');
  for (const name of Object.keys(value)) {
    const item = childOf(walk, name, (value as Record<string, unknown>)[name]);
    setOwn(copy, name, item);
  }
  return walk.isFreezing ? Object.freeze(copy) : copy;
}

/** Sets a property as data, also where its name is `__proto__`, which assignment would obey. */
export function setOwn(target: object, name: string, value: unknown): void {
  if (name === '__proto__') {
    const descriptor = { value, enumerable: true, writable: true, configurable: true };
    Object.defineProperty(target, name, descriptor);
  } else {
    (target as Record<string, unknown>)[name] = value;
  }
}

/** A date as data: no clock is read. */
export function dateOf(ms: number): object {
  return new globalThis.Date(ms);
}

function childOf(walk: Walk, segment: Segment, value: unknown): unknown {
  walk.path.push(segment);
  const copy = copyOf(walk, value);
  walk.path.pop();
  return copy;
}

function textOf(segment: Segment): string {
  if (typeof segment === 'number') return `[${segment}]`;
  if (typeof segment !== 'string') return segment[0];
  return /^[A-Za-z_$][\w$]*$/.test(segment) ? `.${segment}` : `[${JSON.stringify(segment)}]`;
}

/** What an object is, for a message. */
export function typeName(value: object): string {
  const maker = (value as { readonly constructor?: { readonly name?: unknown } }).constructor;
  return typeof maker?.name === 'string' && maker.name !== ''
    ? `instance of ${maker.name}`
    : 'object with a prototype of its own';
}

function refuse(walk: Walk, type: string): never {
  const path = `value${walk.path.map(textOf).join('')}`;
  const message =
    `cannot cache ${JSON.stringify(walk.key)}: ${path} would not come back as it was (${type}); ` +
    'pass plain data';
  throw new CoordinationError('CACHE_VALUE_UNSUPPORTED', message, { key: walk.key, path, type });
}
