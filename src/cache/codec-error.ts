import { CoordinationError, isCoordinationError } from '../core/errors.js';
import type { CacheUnreadableEvent } from './diagnostics.js';

/** Why an entry of a shared tier cannot be read. */
type Unreadable = Pick<CacheUnreadableEvent, 'reason' | 'codec' | 'error'>;

/** Thrown by what decodes, and answered as a miss by who asked. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError';
  constructor(readonly unreadable: Unreadable) {
    super(`not readable: ${unreadable.reason}`);
  }
}

/** What a codec says of a part that it cannot encode: `encode` throws it. */
export function notEncodable(path: string, type: string): TypeError {
  const message = `value${path} would not come back as it was (${type})`;
  return Object.assign(new TypeError(message), { path, type });
}

/** CACHE_VALUE_UNSUPPORTED for a value that a codec refused. */
export function refusedBy(codec: string, key: string, cause: unknown): CoordinationError {
  const { path, type } = toldOf(cause);
  const message =
    `cannot cache ${JSON.stringify(key)}: the codec ${codec} does not encode ${path} (${type}); ` +
    'pass what it encodes, or use another codec';
  const details = { key, path, type };
  return new CoordinationError('CACHE_VALUE_UNSUPPORTED', message, details, { cause });
}

function toldOf(cause: unknown): { readonly path: string; readonly type: string } {
  if (isCoordinationError(cause, 'CACHE_VALUE_UNSUPPORTED')) return cause.details;
  const { path, type, message } = Object(cause) as Partial<Record<string, unknown>>;
  return {
    path: typeof path === 'string' ? `value${path}` : 'value',
    type: String(type ?? message ?? cause).slice(0, 200),
  };
}
