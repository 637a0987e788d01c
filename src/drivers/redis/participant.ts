import { throwIfAborted } from '../../core/abort.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { assertParticipantName } from '../../core/participant-name.js';
import { systemRandom } from '../../core/random.js';
import { assertNumber, assertOptions, invalidArgument } from '../../core/validate.js';
import { workGate } from '../../core/work-gate.js';
import type { Participant, ParticipantCallOptions } from '../../transaction/participant.js';
import { REPLY_TIMEOUT_MS_DEFAULT, redisCalls } from './calls.js';
import { assertClient, type RedisClient } from './client.js';
import { readRedisGuarantees } from './guarantees.js';
import { assertAborted, assertCommitted, redisBranch } from './participant-branch.js';
import type { RedisBranch } from './participant-intents.js';
import { participantStore } from './participant-store.js';

/** Options of {@link redisParticipant}. */
export interface RedisParticipantOptions {
  /** Unique and stable for ever: it stands in commit records. 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly name: string;
  /** The service's own ioredis client (`Redis` or `Cluster`, 5 or 6). It is never closed. */
  readonly client: RedisClient;
  /** Keeps deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * On a cluster all keys of a participant live in one slot: each has this text in braces, as in
   * `{shop}:stock:7`. Data of several slots are several participants. 1 to 128 of
   * `[A-Za-z0-9_.:@-]`. Stable for ever. Default the name. A standalone Redis takes any key.
   */
  readonly hashTag?: string | undefined;
  /** So many branches may be prepared at once; further ones vote no. 1 to 100,000. Default 10,000. */
  readonly preparedMax?: number | undefined;
  /**
   * For how long the outcome of an ended branch can be told, in milliseconds by the server's clock.
   * Default 86,400,000 (24 hours).
   */
  readonly evidenceRetainMs?: number | undefined;
  /**
   * Of how many ended branches the outcome is kept, of the committed and of the aborted each, about
   * 150 bytes a branch. Default 100,000.
   */
  readonly evidenceMax?: number | undefined;
  /** How long one reply is awaited, in milliseconds, before the step is sent again. Default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
  /** Source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
}

const PREPARED_MAX = 10_000;
const EVIDENCE_RETAIN_MS = 24 * 60 * 60 * 1_000;
const EVIDENCE_MAX = 100_000;
const CLOSE_WAIT_MS = 1_000;
const HASH_TAG = /^[\w.:@-]{1,128}$/;

/**
 * Ordinary string keys of a Redis (6.2 or newer) as a participant of transactions: conditional
 * writes, and escrow reservation of stock.
 *
 * Work stays in this process until prepare. One script then checks every condition, locks the keys
 * and stores what the branch will do, without a time to live; one script commits or aborts, from any
 * node, any number of times. Branches never wait: one that meets a key held by another prepared
 * branch votes no. Among transactions this is serializable; a write that goes past tricord is not
 * locked out, and is overwritten by a commit.
 *
 * What {@link RedisBranch.reserve} takes leaves the number at prepare, commutes with other
 * reservations, and returns at abort: a hot stock stays concurrent and never falls below zero.
 *
 * A yes is as durable as the Redis is: with `appendonly yes` and `appendfsync always` it survives a
 * loss of power; with `everysec` a crash of the process; without, nothing. A fail-over to an
 * asynchronous replica may lose a prepared branch whatever the settings; its commit is then refused
 * with RESULT_UNKNOWN, never reported as done. `maxmemory-policy` must be `noeviction`.
 *
 * Lost replies are sent again until the truth is known or the time is up (RESULT_UNKNOWN). An abort
 * that comes before its prepare is noted, and the late prepare votes no.
 *
 * Sources: Mohan, Lindsay and Obermarck, "Transaction Management in the R* Distributed Database
 * Management System" (1986); O'Neil, "The Escrow Transactional Method" (1986).
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed client, name or number.
 */
export function redisParticipant(options: RedisParticipantOptions): Participant<RedisBranch> {
  assertOptions(options, '{ name, client }');
  const { name, client, namespace, clock = systemClock } = options;
  assertParticipantName(name);
  const { hashTag = name, preparedMax = PREPARED_MAX, evidenceMax = EVIDENCE_MAX } = options;
  const { evidenceRetainMs = EVIDENCE_RETAIN_MS } = options;
  const { replyTimeoutMs: timeoutMs = REPLY_TIMEOUT_MS_DEFAULT } = options;
  assertClient(client);
  if (typeof hashTag !== 'string' || !HASH_TAG.test(hashTag)) {
    throw invalidArgument('hashTag', hashTag, '1 to 128 characters of [A-Za-z0-9_.:@-]');
  }
  assertNumber('preparedMax', preparedMax, { min: 1, max: 100_000, integer: true });
  assertNumber('evidenceRetainMs', evidenceRetainMs, { min: 0, integer: true });
  assertNumber('evidenceMax', evidenceMax, { min: 1, integer: true });
  assertNumber('replyTimeoutMs', timeoutMs, { min: 1 });
  const calls = redisCalls({ client, clock, timeoutMs });
  const kept = { preparedMax, evidenceRetainMs, evidenceMax };
  const where = { name, namespace, hashTag };
  const store = participantStore({ ...where, ...kept, calls, clock, random: systemRandom });
  const gate = workGate(`participant "${name}"`, clock);
  const step = <T>(call: ParticipantCallOptions | undefined, work: () => Promise<T>): Promise<T> =>
    gate.run(async () => {
      throwIfAborted(call?.signal);
      return work();
    });
  const about = {
    subject: `redis ${name}`,
    user: `participant "${name}"`,
    kept: 'prepared branches',
  };
  return {
    name,
    backend: 'redis',
    enlist: (context) =>
      step(context, async () => redisBranch(store, { name, preparedMax }, context)),
    commit: ({ branchId }, call) =>
      step(call, async () =>
        assertCommitted(
          name,
          branchId,
          await store.end('commit', branchId, { signal: call?.signal }),
        ),
      ),
    abort: ({ branchId }, call) =>
      step(call, async () =>
        assertAborted(name, branchId, await store.end('abort', branchId, { signal: call?.signal })),
      ),
    recover: (call) => step(call, () => store.recover(call?.signal)),
    outcome: ({ branchId }, call) => step(call, () => store.outcome(branchId, call?.signal)),
    guarantees: (call) => step(call, () => readRedisGuarantees(calls, about, call)),
    async close() {
      await gate.close(CLOSE_WAIT_MS);
      calls.dispose();
    },
  };
}
