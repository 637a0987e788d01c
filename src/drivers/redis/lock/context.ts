import type { GrantRequest, LockNode } from '../../../lock/driver.js';
import type { RedisCalls } from '../calls.js';
import type { RedisKeys } from '../keys.js';
import { modeLetter } from './reply.js';
import { CAPACITY_MAX, PLAIN_TTL_MS_MAX } from './state.js';

/** The times that the driver works with, in milliseconds. */
export interface RedisLockTimes {
  readonly heartbeatMs: number;
  readonly replyTimeoutMs: number;
  readonly resendWindowMs: number;
}

/** What every part of one open Redis lock shares. */
export interface RedisLockContext {
  readonly node: LockNode;
  readonly calls: RedisCalls;
  readonly keys: RedisKeys;
  readonly times: RedisLockTimes;
  /** The terms of the latest plain request, but for its owner. */
  readonly plainTerms: {
    ttlMs: number;
    lockDelayMs: number | undefined;
    text: string;
  };
}

/** A waiter that was not heard from for so many heartbeats is out of the line. */
const MISSED_HEARTBEATS_MAX = 3;
/** Longer grants are cut to a year, so that sums of µs stay exact; renewal extends them. */
const TTL_MS_MAX = 31_536_000_000;

/** For how long a waiter stays in line after it was last heard from. */
export function waiterTtlMs({ heartbeatMs }: RedisLockTimes): number {
  return MISSED_HEARTBEATS_MAX * heartbeatMs;
}

/** The TTL as the server is told it. */
export function wholeTtlMs(ttlMs: number): number {
  return Math.min(Math.ceil(ttlMs), TTL_MS_MAX);
}

/** For how long the end of a grant id is remembered. */
export function tombstoneMs(ttlMs: number, { resendWindowMs }: RedisLockTimes): number {
  return Math.max(wholeTtlMs(ttlMs), resendWindowMs);
}

/** The key of a resource. */
export function keyOf({ keys }: RedisLockContext, resource: string): string {
  return keys.key(resource);
}

/** What of a request is stored beside its id: `ttl,party`, as state.ts describes it. */
export function termsOf(request: GrantRequest, context: RedisLockContext): string {
  const { plainTerms } = context;
  if (!isPlain(request)) return ownerlessTerms(request, context) + request.owner;
  // Most requests of a process differ in their resource alone.
  if (request.ttlMs !== plainTerms.ttlMs || request.lockDelayMs !== plainTerms.lockDelayMs) {
    plainTerms.ttlMs = request.ttlMs;
    plainTerms.lockDelayMs = request.lockDelayMs;
    plainTerms.text = ownerlessTerms(request, context);
  }
  return plainTerms.text + request.owner;
}

function ownerlessTerms(request: GrantRequest, { node, times }: RedisLockContext): string {
  const { mode, permits, capacity, tokens, lockDelayMs = 0 } = request;
  const ttlMs = wholeTtlMs(request.ttlMs);
  const provisionalMs = Math.min(ttlMs, 2 * times.heartbeatMs);
  const room = Math.min(capacity, CAPACITY_MAX);
  const delayMs = wholeTtlMs(lockDelayMs);
  const kept = `${provisionalMs},${waiterTtlMs(times)},${delayMs},${times.resendWindowMs}`;
  return `${ttlMs},${modeLetter(mode)},${permits},${room},${tokens},${kept},${node.incarnation},`;
}

/** Whether a request can be granted by the shortest script. */
export function isPlain({ mode, tokens, ttlMs }: GrantRequest): boolean {
  return mode === 'exclusive' && tokens === 1 && ttlMs <= PLAIN_TTL_MS_MAX;
}
