import {
  assertNumber,
  assertResourceId,
  assertSignal,
  assertTtlMs,
  invalidArgument,
} from '../core/validate.js';
import type { AcquireOptions, CountingMode, LeaseOptions, SharedMode } from './options.js';
import type { Claim } from './waiting-room.js';

/** What is used where a call does not say. */
export interface ClaimDefaults {
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly retainMs: number;
}

/** The options of an acquire, of whatever mode. */
export type AnyOptions<Options extends LeaseOptions = AcquireOptions> = Options &
  Partial<Omit<SharedMode | CountingMode, 'mode'>> & {
    readonly mode?: 'exclusive' | 'shared' | 'counting' | undefined;
  };

/** A counted resource has at most so many permits. */
const CAPACITY_MAX = 1_000_000;
/** So many resources are taken together at most. */
const RESOURCES_MAX = 1_000;

/** Checks the options of `acquire`, all of them before anything is sent. */
export function acquireClaim(options: AnyOptions, defaults: ClaimDefaults): Claim {
  assertOptions(options);
  const { waitMs = defaults.waitMs, reentry, reentrant, within } = options;
  // What is left to the lock was looked at as it was created.
  if (options.waitMs !== undefined) assertWaitMs(waitMs, options.signal);
  if (reentry !== undefined && reentry !== 'refuse' && reentry !== 'wait') {
    throw invalidArgument('reentry', reentry, "'refuse' or 'wait'");
  }
  if (reentrant !== undefined && typeof reentrant !== 'boolean') {
    throw invalidArgument('reentrant', reentrant, 'true or false');
  }
  if (within !== undefined && typeof within?.assertHeld !== 'function') {
    throw invalidArgument('within', within, 'a lease of this lock');
  }
  // Who waits for no time at all does not stand in line either.
  if (waitMs === 0) return tryClaim(options, defaults);
  return claimOf(options, defaults, true, waitMs);
}

/** Checks the options of `tryAcquire`. Its answer is waited for as long as `acquire` waits. */
export function tryClaim(options: AnyOptions<LeaseOptions>, defaults: ClaimDefaults): Claim {
  assertOptions(options);
  return claimOf(options, defaults, false, defaults.waitMs);
}

/** Checks a wait: never NaN or negative, and without an end only if a signal can end it. */
export function assertWaitMs(waitMs: unknown, signal: AbortSignal | undefined): void {
  if (waitMs === Number.POSITIVE_INFINITY && signal === undefined) {
    throw invalidArgument('waitMs', waitMs, 'a signal with it, so that the wait can end');
  }
  assertNumber('waitMs', waitMs, { min: 0, max: Number.POSITIVE_INFINITY });
}

/** Checks several resource ids, and answers each once, in the order of their UTF-8 bytes. */
export function inGlobalOrder(resources: readonly unknown[]): readonly string[] {
  const remedy = `from 1 to ${RESOURCES_MAX} resource ids`;
  if (resources.length === 0 || resources.length > RESOURCES_MAX) {
    throw invalidArgument('resources', resources, remedy);
  }
  const bytes = new Map<string, Buffer>();
  for (const resource of resources) {
    assertResourceId(resource, 'resources');
    bytes.set(resource, Buffer.from(resource));
  }
  // By bytes and not by UTF-16 units, so that every program in every language has the same order.
  return Array.from(bytes)
    .sort(([, one], [, other]) => Buffer.compare(one, other))
    .map(([resource]) => resource);
}

function assertOptions(options: AnyOptions<LeaseOptions>): void {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', options, 'an object, or nothing');
  }
  assertSignal(options.signal);
}

function claimOf(
  options: AnyOptions<LeaseOptions>,
  defaults: ClaimDefaults,
  wait: boolean,
  waitMs: number,
): Claim {
  const { ttlMs = defaults.ttlMs, retainMs = defaults.retainMs, lockDelayMs = 0 } = options;
  const { renew = true, maxHoldMs, signal } = options;
  if (options.ttlMs !== undefined) assertTtlMs(ttlMs);
  if (options.retainMs !== undefined) assertNumber('retainMs', retainMs, { min: 0 });
  if (lockDelayMs !== 0) assertNumber('lockDelayMs', lockDelayMs, { min: 0 });
  if (maxHoldMs !== undefined) assertTtlMs(maxHoldMs, 'maxHoldMs');
  if (typeof renew !== 'boolean') throw invalidArgument('renew', renew, 'true or false');
  const { mode, permits, capacity } = shareOf(options);
  // One literal: spreading costs more than all these checks, and each acquire comes here.
  return {
    wait,
    waitMs,
    mode,
    permits,
    capacity,
    ttlMs,
    renew,
    maxHoldMs,
    retainMs,
    lockDelayMs,
    signal,
    ask: undefined,
  };
}

/** How it would share the resource. */
function shareOf({
  mode,
  capacity,
  permits,
}: AnyOptions<LeaseOptions>): Pick<Claim, 'mode' | 'permits' | 'capacity'> {
  if (mode === 'counting' || (mode === undefined && capacity !== undefined)) {
    assertNumber('capacity', capacity, { min: 1, max: CAPACITY_MAX, integer: true });
    assertNumber('permits', permits ?? 1, { min: 1, max: capacity, integer: true });
    return { mode: 'counting', permits: permits ?? 1, capacity };
  }
  if (mode !== undefined && mode !== 'exclusive' && mode !== 'shared') {
    throw invalidArgument('mode', mode, "'exclusive' or 'shared', or a capacity to count up to");
  }
  const remedy = 'nothing: only a counted resource, which has a capacity and no mode, has it';
  if (capacity !== undefined) throw invalidArgument('capacity', capacity, remedy);
  if (permits !== undefined) throw invalidArgument('permits', permits, 'a capacity with it');
  return mode === 'shared'
    ? { mode, permits: 1, capacity: Number.POSITIVE_INFINITY }
    : { mode: 'exclusive', permits: 1, capacity: 1 };
}
