import { assertNumber, assertOptions, invalidArgument } from '../../../core/validate.js';
import type { LockDriver } from '../../../lock/driver.js';
import { REPLY_TIMEOUT_MS_DEFAULT } from '../calls.js';
import type { RedisClient } from '../client.js';
import { redisKeys } from '../keys.js';
import { quorumLockBackend } from './backend.js';

/** Options of {@link redisQuorumLock}. */
export interface RedisQuorumLockOptions {
  /**
   * One connected client (`Redis` of ioredis 5 or 6) for each of 3 or 5 independent masters, in any
   * order. They are neither configured nor closed. One duplicate of each is opened to listen, and
   * closed with the lock.
   */
  readonly clients: readonly RedisClient[];
  /** Keeps the locks of several deployments apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * The longest TTL (with its lock delay) that any lock asks for, in milliseconds: 100 to
   * 86,400,000, default 60,000. A node that was restarted, flushed or failed over stays out for so
   * long, because it may have forgotten a vote that somebody relies on. The same on all processes.
   */
  readonly ttlMsMax?: number | undefined;
  /**
   * How long the answer of one node is awaited, in milliseconds: 10 to 60,000, default 250, and
   * never more than a fifth of the TTL. A node that is slow costs nothing while a majority answers.
   */
  readonly nodeTimeoutMs?: number | undefined;
  /**
   * For how long fewer than a majority may answer before BACKEND_UNAVAILABLE is told, in
   * milliseconds: at least 50, default 2,000.
   */
  readonly replyTimeoutMs?: number | undefined;
  /**
   * How often a waiter that is not woken tries again, in milliseconds: 50 to 60,000, default 1,000,
   * less a random part up to half. A waiter that died stops those behind it for three. The same on
   * all processes.
   */
  readonly heartbeatMs?: number | undefined;
}

const TTL_MS_MAX_DEFAULT = 60_000;
const NODE_TIMEOUT_MS_DEFAULT = 250;
const HEARTBEAT_MS_DEFAULT = 1_000;
const NODE_COUNTS: readonly number[] = [3, 5];

/**
 * Exclusive locks on the majority of 3 or 5 independent Redis masters, 6.2 or newer, for when one
 * Redis may be lost with what it knew: Redlock, with a fencing token.
 *
 * Guarantees: one holder of a lock, while fewer than a majority of the nodes lose their state within
 * `ttlMsMax` and no node's clock jumps; it goes on while a majority answers. Fencing tokens increase
 * strictly over the grants of a resource: the newest of a majority plus one, written to a majority
 * before it is handed out. That needs no clocks; only after a node lost its state must the nodes'
 * clocks differ by less than `ttlMsMax`. Waiters are served by the time of their arrival as the
 * nodes' clocks tell it; two that come at nearly the same time may be served in either order.
 *
 * A node that lost its state (a restart, whatever its persistence; FLUSHALL; a fail-over) stays out
 * for `ttlMsMax`: restart them one at a time. New nodes begin at once when all of them are reached
 * and none was ever used; that is also how nodes look that were all erased at the same time, which
 * can make two holders, told apart by their tokens.
 *
 * Exclusive mode only: shared and counting requests, and `downgrade`, are refused with
 * BACKEND_UNSUPPORTED. Counting is not sound on majorities (three holders can have two of three
 * nodes each with a capacity of two), and readers on different majorities cannot have one epoch.
 *
 * Failure: BACKEND_UNAVAILABLE (fewer than a majority take part for `replyTimeoutMs`),
 * RESULT_UNKNOWN (a release without answers), BACKEND_UNSUPPORTED (Redis before 6.2, missing
 * permissions, one server under two clients), UPGRADE_NEEDED, DATA_CORRUPT; a TypeError for a
 * `ttlMs` above `ttlMsMax`.
 *
 * The protocol is that of S. Sanfilippo, "Distributed locks with Redis", with the two phases of
 * Attiya, Bar-Noy and Dolev's majority register for the token; test/unit/redis-quorum-model.test.ts
 * explores it.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an even number of clients, or fewer than 3: two of two is
 * a majority that no node may miss, and a half is none.
 */
export function redisQuorumLock(options: RedisQuorumLockOptions): LockDriver {
  assertOptions(options, '{ clients }');
  const {
    clients,
    namespace,
    ttlMsMax = TTL_MS_MAX_DEFAULT,
    nodeTimeoutMs = NODE_TIMEOUT_MS_DEFAULT,
    replyTimeoutMs = REPLY_TIMEOUT_MS_DEFAULT,
    heartbeatMs = HEARTBEAT_MS_DEFAULT,
  } = options;
  assertClients(clients);
  assertNumber('ttlMsMax', ttlMsMax, { min: 100, max: 86_400_000, integer: true });
  assertNumber('nodeTimeoutMs', nodeTimeoutMs, { min: 10, max: 60_000 });
  assertNumber('replyTimeoutMs', replyTimeoutMs, { min: 50, max: 3_600_000 });
  assertNumber('heartbeatMs', heartbeatMs, { min: 50, max: 60_000, integer: true });
  const keys = redisKeys('quorum', namespace);
  const times = { heartbeatMs, nodeTimeoutMs, replyTimeoutMs, ttlMsMax };
  return {
    backend: 'redis-quorum',
    open: (node) => quorumLockBackend({ clients: [...clients], keys, times, node }),
  };
}

function assertClients(clients: unknown): asserts clients is readonly RedisClient[] {
  const remedy = 'an array of 3 or 5 clients of ioredis, one for each independent master';
  if (!Array.isArray(clients)) throw invalidArgument('clients', clients, remedy);
  if (!NODE_COUNTS.includes(clients.length)) {
    throw invalidArgument('clients.length', clients.length, `${remedy}; ${whyNot(clients.length)}`);
  }
  for (const [index, client] of clients.entries()) assertClient(client, index);
  if (new Set(clients).size === clients.length) return;
  throw invalidArgument('clients', clients, `${remedy}; one client stands there twice`);
}

function whyNot(count: number): string {
  if (count < 2) return 'less than that has no majority to lose: use redisLock';
  if (count % 2 === 0) {
    return 'an even number tolerates no more failures than one node less, and can tie';
  }
  return 'more than 5 make every step slower and hardly safer';
}

function assertClient(client: unknown, index: number): void {
  const { evalsha, duplicate, isCluster } = (client ?? {}) as Partial<RedisClient>;
  const remedy = 'a Redis of ioredis 5 or 6, connected to one independent master';
  if (typeof evalsha !== 'function' || typeof duplicate !== 'function') {
    throw invalidArgument(`clients[${index}]`, client, remedy);
  }
  if (isCluster) {
    throw invalidArgument(`clients[${index}]`, client, `${remedy}, not a Cluster; use redisLock`);
  }
}
