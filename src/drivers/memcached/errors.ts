import { CoordinationError } from '../../core/errors.js';
import type { MetaReply } from './meta-reader.js';

/** The error for a request that certainly was not run. */
export function unavailable(
  operation: string,
  why: string,
  cause?: unknown,
): CoordinationError<'BACKEND_UNAVAILABLE'> {
  const message = `memcached could not run ${operation}: ${why}; nothing was changed, try again`;
  const details = { backend: 'memcached', operation };
  return new CoordinationError('BACKEND_UNAVAILABLE', message, details, { cause });
}

/** The error for a request that was run, or not, or will be. */
export function unknown(
  operation: string,
  why: string,
  cause?: unknown,
): CoordinationError<'RESULT_UNKNOWN'> {
  const message = `memcached did not answer ${operation}: ${why}; it may have taken effect or not`;
  const details = { backend: 'memcached', operation };
  return new CoordinationError('RESULT_UNKNOWN', message, details, { cause });
}

/** The error for a server, or a setting of it, that cannot do what is needed. */
export function unsupported(
  setting: string,
  found: string,
  needed: string,
): CoordinationError<'BACKEND_UNSUPPORTED'> {
  const message = `memcached has ${setting} ${found}; needed is ${needed}`;
  const details = { backend: 'memcached', setting, found, needed };
  return new CoordinationError('BACKEND_UNSUPPORTED', message, details);
}

/** What a server's error reply means: it was not run, for now or for good. */
export function replyError(operation: string, { status, rest }: MetaReply): unknown {
  if (status === 'SERVER_ERROR' && /too large/.test(rest)) {
    return unsupported('-I (largest item)', rest, 'a larger -I, or smaller values');
  }
  if (status === 'SERVER_ERROR') return unavailable(operation, rest);
  return unsupported(
    'protocol',
    `${status} ${rest}`.trim(),
    'the meta protocol of 1.6.12 or newer',
  );
}

/** The error for stored data whose format version is not ours: newer, or no version at all. */
export function formatError(where: string, found: string): unknown {
  const version = /^(\d{1,9})(?!\d)/.exec(found)?.[1];
  if (version !== undefined && Number(version) > 1) {
    const message = `${where} was written in format ${version}; this release reads up to 1, so upgrade it`;
    const details = { where, found: version, supported: '1' };
    return new CoordinationError('UPGRADE_NEEDED', message, details);
  }
  const shown = found.slice(0, 80);
  const message = `${where} holds ${JSON.stringify(shown)}, which tricord does not write there`;
  return new CoordinationError('DATA_CORRUPT', message, { where, found: shown });
}
