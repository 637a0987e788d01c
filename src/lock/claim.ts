import { assertNumber, assertResourceId, assertTtlMs, invalidArgument } from '../core/validate.js';
import type { AcquireOptions, LeaseOptions } from './lock.js';
import type { Claim } from './waiting-room.js';

/** What is used where a call does not say. */
export interface ClaimDefaults {
  readonly ttlMs: number;
  readonly waitMs: number;
}

/** Checks the arguments of `acquire`, all of them before anything is sent. */
export function acquireClaim(
  resource: unknown,
  options: AcquireOptions,
  defaults: ClaimDefaults,
): Claim {
  const { waitMs = defaults.waitMs, reentry = 'refuse', within } = checked(resource, options);
  assertWaitMs(waitMs, options.signal);
  if (reentry !== 'refuse' && reentry !== 'wait') {
    throw invalidArgument('reentry', reentry, "'refuse' or 'wait'");
  }
  if (within !== undefined && typeof within?.assertHeld !== 'function') {
    throw invalidArgument('within', within, 'a lease of this lock');
  }
  // Who waits for no time at all does not stand in line either.
  if (waitMs === 0) return tryClaim(resource, options, defaults);
  return { ...leasePart(options, defaults), wait: true, waitMs };
}

/** Checks the arguments of `tryAcquire`. Its answer is waited for as long as `acquire` waits. */
export function tryClaim(resource: unknown, options: LeaseOptions, defaults: ClaimDefaults): Claim {
  checked(resource, options);
  return { ...leasePart(options, defaults), wait: false, waitMs: defaults.waitMs };
}

/** Checks a wait: never NaN or negative, and without an end only if a signal can end it. */
export function assertWaitMs(waitMs: unknown, signal: AbortSignal | undefined): void {
  if (waitMs === Number.POSITIVE_INFINITY && signal === undefined) {
    throw invalidArgument('waitMs', waitMs, 'a signal with it, so that the wait can end');
  }
  assertNumber('waitMs', waitMs, { min: 0, max: Number.POSITIVE_INFINITY });
}

function checked<Options extends LeaseOptions>(resource: unknown, options: Options): Options {
  assertResourceId(resource, 'resource');
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', options, 'an object, or nothing');
  }
  const { signal } = options;
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw invalidArgument('signal', signal, 'an AbortSignal');
  }
  return options;
}

function leasePart(
  { ttlMs, renew = true, maxHoldMs, signal }: LeaseOptions,
  defaults: ClaimDefaults,
): Omit<Claim, 'wait' | 'waitMs'> {
  assertTtlMs(ttlMs ?? defaults.ttlMs);
  if (maxHoldMs !== undefined) assertTtlMs(maxHoldMs, 'maxHoldMs');
  if (typeof renew !== 'boolean') throw invalidArgument('renew', renew, 'true or false');
  return { ttlMs: ttlMs ?? defaults.ttlMs, renew, maxHoldMs, signal };
}
