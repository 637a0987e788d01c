import type { LockNode } from '../../../lock/driver.js';
import type { RedisCalls } from '../calls.js';
import type { RedisKeys } from '../keys.js';

/** The times that the driver works with, in milliseconds. */
export interface QuorumTimes {
  readonly heartbeatMs: number;
  readonly nodeTimeoutMs: number;
  readonly replyTimeoutMs: number;
  readonly ttlMsMax: number;
}

/** One of the masters, as one open lock calls it. */
export interface QuorumNode {
  /** Its place in the list of clients, from 1 as messages count. */
  readonly number: number;
  readonly calls: RedisCalls;
}

/** What every part of one open quorum lock shares. */
export interface QuorumContext {
  readonly node: LockNode;
  readonly nodes: readonly QuorumNode[];
  readonly keys: RedisKeys;
  readonly times: QuorumTimes;
}

/** One node's answer is awaited for at most this share of a TTL. */
const TIMEOUT_SHARE = 1 / 5;
const TIMEOUT_MS_MIN = 10;
/** A waiter that was not heard from for so many heartbeats is out of the line. */
const MISSED_HEARTBEATS_MAX = 3;
/** A copy of a request may arrive for so long after its end. */
const RESEND_WINDOW_MS = 60_000;

/** How long one node's answer is awaited: far below the TTL, which goes on meanwhile. */
export function timeoutMsOf({ nodeTimeoutMs }: QuorumTimes, ttlMs: number): number {
  return Math.max(Math.min(nodeTimeoutMs, ttlMs * TIMEOUT_SHARE), TIMEOUT_MS_MIN);
}

/** For how long a waiter stays in line after it was last heard from. */
export function waiterTtlMs({ heartbeatMs }: QuorumTimes): number {
  return MISSED_HEARTBEATS_MAX * heartbeatMs;
}

/** For how long the end of a request is remembered where a copy of it may still be under way. */
export function tombstoneMs(ttlMs: number): number {
  return Math.max(Math.ceil(ttlMs), RESEND_WINDOW_MS);
}

/** The marker of every node, in this namespace. */
export function markerOf({ keys }: QuorumContext): string {
  return keys.channel('node');
}
