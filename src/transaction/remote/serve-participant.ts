import { onAbort } from '../../core/abort.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import { closedError } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import { assertNumber } from '../../core/validate.js';
import type { Barrier } from '../barrier.js';
import type { DecisionLog } from '../decision-log.js';
import { boundedCall, sharedController } from '../host.js';
import type { Participant } from '../participant.js';
import type { TransactionSite } from '../three-phase/transaction-site.js';
import type { CallSchemas } from './call-schema.js';
import { type CheckedServeOptions, checkServeOptions } from './serve-options.js';
import { serveRounds } from './serve-rounds.js';
import type { ServedParticipant, ServiceHandlers } from './service.js';

/** Options of {@link serveParticipant}. */
export interface ServeParticipantOptions<Payload, Result, Client = undefined> {
  /**
   * The store that callers take as their `log`: `redisTransactions({ client })`,
   * `zookeeperTransactions({ session })`, or `memoryTransactions()` within one process.
   */
  readonly store: DecisionLog;
  /**
   * What callers call. It stands in commit records, so it is stable for ever: 1 to 64 of
   * `[A-Za-z0-9_.-]`. Several nodes may serve one name; exactly one takes a call.
   */
  readonly name: string;
  /** What it does. */
  readonly handlers: ServiceHandlers<Payload, Result, Client>;
  /** Names this process in records, 1 to 256 UTF-8 bytes. Default: host, process and a random part. */
  readonly nodeId?: string | undefined;
  /** The namespace of the callers' coordinators. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * Every resource of this service that may ever hold a prepared branch, because recovery must list
   * them all. Every node that serves the name has the same ones, by name. Default none.
   */
  readonly participants?: readonly Participant[] | undefined;
  /**
   * Where `prepare`, `commit` and `abort` take effect exactly once, with a client of its own
   * (`postgresBarrier({ pool })` and others). Needed for `commit` and `abort`. Default none.
   */
  readonly barrier?: Barrier<Client> | undefined;
  /**
   * The voting site of this process, made by `createTransactionSite`: with it, calls of three-phase
   * transactions are served too. Each node that serves the name has a site of its own, whose name stays
   * the same across restarts. It is not closed. Default none: such calls are refused.
   */
  readonly site?: TransactionSite | undefined;
  /** Checks payloads before the handler sees them, and results before they are sent. */
  readonly schema?: CallSchemas<Payload, Result> | undefined;
  /** So many handlers are at work at the same time, 1 to 1,000. Default 16. */
  readonly concurrency?: number | undefined;
  /** So many calls may wait here for their decision, beside those; then no more are taken. Default 1,000. */
  readonly preparedMax?: number | undefined;
  /** A call is handed out at most so often, when nodes die with it, 1 to 60. Default 5. */
  readonly attemptsMax?: number | undefined;
  /**
   * How often this node looks for what others, or itself, left unfinished, in milliseconds, give or
   * take a quarter. 10 or more; default 5,000. The first look is at the start.
   */
  readonly sweepMs?: number | undefined;
  /** Closes it, like `close`. */
  readonly signal?: AbortSignal | undefined;
  /** The source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
  /** The source of chance. Default cryptographically strong. */
  readonly random?: Random | undefined;
}

const DRAIN_MS = 5_000;

/**
 * Serves a part of other nodes' transactions: callers reach it with `tx.call(name, payload)`.
 *
 * ```ts
 * const served = serveParticipant({
 *   store: redisTransactions({ client }),
 *   name: 'inventory',
 *   participants: [stock],
 *   handlers: {
 *     prepare: async ({ sku, quantity }: Reservation, { enlist }) => {
 *       const db = await enlist(stock);
 *       await db.query('update …');
 *       return { left: 3 };
 *     },
 *   },
 * });
 * ```
 *
 * What a handler does in the resources that it enlists is prepared as soon as it returns, and commits
 * or aborts with the caller's transaction: two-phase commit, presumed abort, with the caller as the
 * one who decides. A node that dies before it has voted loses its call to another one; after that it
 * never decides alone, and finds out the decision from the store, if need be when it is started again.
 *
 * @throws TypeError (INVALID_ARGUMENT) for ill-formed options; CoordinationError
 *   (BACKEND_UNSUPPORTED) for a store that cannot carry calls.
 */
export function serveParticipant<Payload = unknown, Result = unknown, Client = undefined>(
  options: ServeParticipantOptions<Payload, Result, Client>,
): ServedParticipant {
  const settings = checkServeOptions(options as ServeParticipantOptions<unknown, unknown, unknown>);
  const { name, nodeId, clock } = settings;
  const stopped = sharedController();
  const rounds = serveRounds(settings, stopped.signal);
  let closed: Promise<void> | undefined;
  const close = (drainMs: number): Promise<void> => {
    closed ??= closing(settings, rounds, stopped, drainMs);
    return closed;
  };
  onAbort(settings.signal, () => void close(DRAIN_MS));
  return {
    name,
    nodeId,
    ready: rounds.ready,
    stats: rounds.stats,
    recover: (call) =>
      boundedCall(
        clock,
        { signals: [call?.signal, stopped.signal], timeoutMs: 60_000 },
        rounds.recover,
      ),
    guarantees: (call) =>
      boundedCall(clock, { signals: [call?.signal, stopped.signal] }, rounds.guarantees),
    async close({ drainMs = DRAIN_MS } = {}) {
      assertNumber('drainMs', drainMs, { min: 0 });
      return close(drainMs);
    },
    [Symbol.asyncDispose]: () => close(DRAIN_MS),
  };
}

/** In this order: no new call, the old ones to their end, then whatever still waits. */
async function closing(
  { clock }: CheckedServeOptions,
  rounds: ReturnType<typeof serveRounds>,
  stopped: AbortController,
  drainMs: number,
): Promise<void> {
  const since = instantOf(clock);
  await rounds.withdraw();
  await rounds.drained(drainMs);
  await rounds.giveBack(Math.max(drainMs - elapsedMs(clock, since), GIVE_BACK_MS));
  stopped.abort(closedError('the served participant'));
  await rounds.close();
}

const GIVE_BACK_MS = 1_000;
