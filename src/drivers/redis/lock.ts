import { assertNumber, assertOptions, invalidArgument } from '../../core/validate.js';
import type { LockDriver } from '../../lock/driver.js';
import { REPLY_TIMEOUT_MS_DEFAULT } from './calls.js';
import type { RedisClient } from './client.js';
import { redisKeys } from './keys.js';
import { redisLockBackend } from './lock/backend.js';
import { assertWaitReplicas, type WaitReplicasOptions } from './wait-replicas.js';

/** Options of {@link redisLock}. */
export interface RedisLockOptions {
  /**
   * A connected client of ioredis 5 or 6, `Redis` or `Cluster`. It is neither configured nor
   * closed. For waiting, one duplicate of it is opened, and closed with the lock.
   */
  readonly client: RedisClient;
  /** Keeps the locks of several deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * How often the waiters of this process are kept in line, in milliseconds: 50 to 60,000, default
   * 1,000. One command for all of them (250 at a time), in a cluster one a slot. A lost wake-up costs
   * one period at most, a waiter that died two. The same on all nodes.
   */
  readonly heartbeatMs?: number | undefined;
  /** How long one answer of the server is awaited, in milliseconds: at least 50, default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
  /**
   * For how long at least the end of a request is remembered, in milliseconds, so that a copy of it
   * that arrives late is refused: 1,000 to 3,600,000, default 60,000. Longer than the client may
   * take to send again what was not answered.
   */
  readonly resendWindowMs?: number | undefined;
  /**
   * Hands a grant out, and counts a renewal, only once so many replicas have it; else the grant is
   * given back and `acquire` rejects with BACKEND_UNAVAILABLE. It narrows the window in which a
   * fail-over forgets a lock, and does not close it: fencing tokens are still needed. Costs one more
   * command and a round trip to the replicas for each grant, on a second duplicate of the client.
   * Not with a Cluster. Default: replicas are not waited for.
   */
  readonly waitReplicas?: WaitReplicasOptions | undefined;
}

const HEARTBEAT_MS_DEFAULT = 1_000;
const RESEND_WINDOW_MS_DEFAULT = 60_000;

/**
 * Locks on one Redis 6.2 or newer: standalone, behind Sentinel, or a cluster.
 *
 * Guarantees, as long as that Redis keeps its data: one holder of an exclusive lock; waiters served
 * in the order of arrival; a release hands over in the same step, which wakes the next in line
 * within about two round trips; a lost reply costs no TTL; every key expires by itself. Fencing
 * tokens increase also when the data was lost. A fail-over to a replica that lags, a restart
 * without persistence or an eviction can make two holders: then the token decides.
 *
 * Bounds: a grant takes two commands, under contention three; 10,000 held leases are renewed by 100
 * commands a third of their TTL, four under way at a time. `acquire` of several resources is one
 * script for up to 250 of them, in a cluster only where they share a slot; otherwise they are taken
 * one after another. A resource is one key. In a cluster messages to waiters are plain PUBLISH, which
 * the cluster sends to all of its nodes; watched resources publish, others do not.
 *
 * Failure: BACKEND_UNAVAILABLE (not connected within `replyTimeoutMs`, loading, read-only),
 * RESULT_UNKNOWN (a release without an answer), BACKEND_UNSUPPORTED (Redis before 6.2, missing
 * permissions), UPGRADE_NEEDED (data of a newer release), DATA_CORRUPT.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an option outside its bounds.
 */
export function redisLock(options: RedisLockOptions): LockDriver {
  assertOptions(options, '{ client }');
  const {
    client,
    namespace,
    heartbeatMs = HEARTBEAT_MS_DEFAULT,
    replyTimeoutMs = REPLY_TIMEOUT_MS_DEFAULT,
    resendWindowMs = RESEND_WINDOW_MS_DEFAULT,
    waitReplicas,
  } = options;
  assertClient(client);
  assertWaitReplicas(client, waitReplicas);
  assertNumber('heartbeatMs', heartbeatMs, { min: 50, max: 60_000, integer: true });
  assertNumber('replyTimeoutMs', replyTimeoutMs, { min: 50, max: 3_600_000 });
  assertNumber('resendWindowMs', resendWindowMs, { min: 1_000, max: 3_600_000, integer: true });
  const keys = redisKeys('lock', namespace);
  const times = { heartbeatMs, replyTimeoutMs, resendWindowMs };
  return {
    backend: 'redis',
    open: (node) => redisLockBackend({ client, keys, times, node, waitReplicas }),
  };
}

function assertClient(client: unknown): void {
  const { evalsha, duplicate } = (client ?? {}) as Partial<RedisClient>;
  if (typeof evalsha === 'function' && typeof duplicate === 'function') return;
  throw invalidArgument('client', client, 'a Redis or Cluster of ioredis 5 or 6');
}
