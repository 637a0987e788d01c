import { inspect } from 'node:util';
import { withoutLogin } from './secrets.js';

/** A `TypeError` for a mistake in the calling program, with what was passed and what to pass. */
export interface InvalidArgumentError extends TypeError {
  /** Always `INVALID_ARGUMENT`. */
  readonly code: 'INVALID_ARGUMENT';
  /** The name of the argument or option. */
  readonly argument: string;
  /** What was passed. */
  readonly value: unknown;
}

/** Resource ids and cache keys are at most this many UTF-8 bytes. */
export const RESOURCE_ID_BYTES_MAX = 1_024;
/** Node ids are at most this many UTF-8 bytes. */
export const NODE_ID_BYTES_MAX = 256;

/** A lone surrogate: text that has no UTF-8 form and would come back as another string. */
const LONE_SURROGATE = /\p{Surrogate}/u;
const SHOWN_CHARACTERS_MAX = 80;

/**
 * Builds the error for a bad argument. `remedy` completes "… pass ‹remedy›". An object is shown by its
 * kind alone, an address without its login, and `value` is not printed with the error: an options
 * object may hold a password.
 */
export function invalidArgument(
  argument: string,
  value: unknown,
  remedy: string,
): InvalidArgumentError {
  const options = { depth: -1, maxStringLength: SHOWN_CHARACTERS_MAX, customInspect: false };
  const told = typeof value === 'string' ? withoutLogin(value) : value;
  const shown = inspect(told, options).slice(0, 2 * SHOWN_CHARACTERS_MAX);
  const error = new TypeError(`${argument} is ${shown}; pass ${remedy}`);
  Object.assign(error, { code: 'INVALID_ARGUMENT', argument });
  Object.defineProperty(error, 'value', { value });
  return error as InvalidArgumentError;
}

/** Checks that options were passed at all; `remedy` shows the least of them: `{ name, pool }`. */
export function assertOptions(options: unknown, remedy: string): asserts options is object {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', options, remedy);
  }
}

/** Checks an optional signal. */
export function assertSignal(value: unknown): asserts value is AbortSignal | undefined {
  if (value === undefined) return;
  if (typeof (value as AbortSignal | null)?.addEventListener === 'function') return;
  throw invalidArgument('signal', value, 'an AbortSignal');
}

/** Whether a text may name something: non-empty, well-formed, and of bounded size. */
export function isName(value: string, bytesMax: number): boolean {
  return value !== '' && !LONE_SURROGATE.test(value) && Buffer.byteLength(value) <= bytesMax;
}

/** Checks a text that names something: a non-empty, well-formed string of bounded size. */
export function assertName(
  argument: string,
  value: unknown,
  bytesMax: number,
): asserts value is string {
  const remedy = `a non-empty, well-formed string of at most ${bytesMax} UTF-8 bytes`;
  if (typeof value !== 'string' || value === '') throw invalidArgument(argument, value, remedy);
  if (LONE_SURROGATE.test(value))
    throw invalidArgument(argument, value, `${remedy}; this one has a lone surrogate`);
  const bytes = Buffer.byteLength(value);
  if (bytes > bytesMax) throw invalidArgument(argument, value, `${remedy}; this one has ${bytes}`);
}

/** Checks a resource id. */
export function assertResourceId(value: unknown, argument = 'resourceId'): asserts value is string {
  assertName(argument, value, RESOURCE_ID_BYTES_MAX);
}

/** Checks a node id. */
export function assertNodeId(value: unknown, argument = 'nodeId'): asserts value is string {
  assertName(argument, value, NODE_ID_BYTES_MAX);
}

/** Bounds of a number option. Both ends are allowed values. */
export interface NumberBounds {
  readonly min: number;
  readonly max?: number | undefined;
  readonly integer?: boolean | undefined;
}

/** Checks a number option: never NaN, never outside its bounds; infinite only if `max` is. */
export function assertNumber(
  argument: string,
  value: unknown,
  { min, max = Number.MAX_SAFE_INTEGER, integer = false }: NumberBounds,
): asserts value is number {
  const kind = integer ? 'a whole number' : 'a number';
  const remedy = `${kind} from ${min} to ${max}`;
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    throw invalidArgument(argument, value, remedy);
  }
  if (integer && !Number.isInteger(value)) throw invalidArgument(argument, value, remedy);
}

/** Checks a time to live: positive, finite milliseconds. */
export function assertTtlMs(value: unknown, argument = 'ttlMs'): asserts value is number {
  assertNumber(argument, value, { min: 1 });
}
