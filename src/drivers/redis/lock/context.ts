import type { GrantRequest, LockNode } from '../../../lock/driver.js';
import type { RedisCalls } from '../calls.js';
import type { RedisKeys } from '../keys.js';
import { modeLetter } from './reply.js';

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
}

/** A waiter that was not heard from for so many heartbeats is out of the line. */
const MISSED_HEARTBEATS_MAX = 3;
/** Longer grants are cut to a year, so that sums of µs stay exact; renewal extends them. */
const TTL_MS_MAX = 31_536_000_000;
/** Stands for no limit, and is exact in Lua. */
const CAPACITY_MAX = 2 ** 52;

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

/** The two keys of a resource: its record and its line. */
export function keysOf({ keys }: RedisLockContext, resource: string): [string, string] {
  return [keys.key(resource), keys.key(resource, ':q')];
}

/** What is stored of a request beside its id and TTL. */
export function partyOf(request: GrantRequest, { node, times }: RedisLockContext): string {
  const { mode, permits, capacity, tokens, ttlMs, owner } = request;
  const provisionalMs = Math.min(wholeTtlMs(ttlMs), 2 * times.heartbeatMs);
  const room = Math.min(capacity, CAPACITY_MAX);
  const letter = modeLetter(mode);
  return `${letter},${permits},${room},${tokens},${provisionalMs},${node.incarnation},${owner}`;
}
