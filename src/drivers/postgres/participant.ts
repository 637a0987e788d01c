import type { AbortSource } from '../../core/abort.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { assertParticipantName } from '../../core/participant-name.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import { workGate } from '../../core/work-gate.js';
import { parseBranchId } from '../../transaction/branch-id.js';
import type { BranchContext, Participant } from '../../transaction/participant.js';
import { type BranchHost, PostgresBranch } from './branch.js';
import { participantCalls } from './calls.js';
import { assertPool, type PostgresBranchClient, type PostgresPool } from './client.js';
import { enlistment } from './enlist.js';
import {
  branchOutcome,
  commitPrepared,
  listPrepared,
  literalOf,
  rollbackPrepared,
  settledStatus,
} from './prepared.js';
import { assertCanPrepare, guaranteesOf, readSettings } from './settings.js';
import { slotBudget } from './slots.js';

/** Options of {@link postgresParticipant}. */
export interface PostgresParticipantOptions<Pool extends PostgresPool = PostgresPool> {
  /** Unique and stable for ever: it stands in commit records. 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly name: string;
  /**
   * The service's own pool of this one database. A branch occupies a connection from `enlist` to its
   * end; give every participant a pool of its own, or transactions can wait for each other's
   * connections until their time-out.
   */
  readonly pool: Pool;
  /** A call outside a branch, and a reply inside one, is waited for this long, in milliseconds. Default 10,000. */
  readonly callTimeoutMs?: number | undefined;
  /** How many `enlist` may wait for a connection; more are refused with PARTICIPANT_FULL. Default 1,000. */
  readonly waitersMax?: number | undefined;
  /** For tests. */
  readonly clock?: Clock | undefined;
}

const CALL_TIMEOUT_MS = 10_000;
const WAITERS_MAX = 1_000;

/**
 * A PostgreSQL database (13 or newer) that takes part in transactions by PREPARE TRANSACTION.
 *
 * `tx.enlist` answers a client with `pg`'s own `query`, inside the branch. A yes is durable before it
 * is given; a branch that wrote nothing is over at its vote; the only branch of a transaction commits
 * in one phase. What became of a branch is read from the commit log of the database
 * (`pg_xact_status`), never guessed from an error. Statements of a branch, their waits for locks and
 * the time between them are bounded by the time that the transaction has left, which is also what
 * ends a deadlock over two servers.
 *
 * Needs `max_prepared_transactions` above 0, else BACKEND_UNSUPPORTED says how to change it. Temporary
 * tables, LISTEN, NOTIFY and cursors WITH HOLD cannot be prepared: the branch votes no. Every node
 * connects with the same role.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed name, pool or number.
 */
export function postgresParticipant<Pool extends PostgresPool>(
  options: PostgresParticipantOptions<Pool>,
): Participant<PostgresBranchClient<Pool>> {
  assertOptions(options, '{ name, pool }');
  const { name, pool, clock = systemClock } = options;
  const { callTimeoutMs = CALL_TIMEOUT_MS, waitersMax = WAITERS_MAX } = options;
  assertParticipantName(name);
  assertPool(pool);
  assertNumber('callTimeoutMs', callTimeoutMs, { min: 1 });
  assertNumber('waitersMax', waitersMax, { min: 0, integer: true });
  const participant = createParticipant({ name, pool, clock, callTimeoutMs, waitersMax });
  // The handle's queries are the pool's own by construction: the same client answers both.
  return participant as Participant<PostgresBranchClient<Pool>>;
}

interface CheckedOptions {
  readonly name: string;
  readonly pool: PostgresPool;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  readonly waitersMax: number;
}

function createParticipant(
  options: CheckedOptions,
): Participant<PostgresBranchClient<PostgresPool>> {
  const { name, clock, callTimeoutMs } = options;
  const backend = `postgres ${name}`;
  const gate = workGate(`the participant ${backend}`, clock);
  const slots = slotBudget(name, backend);
  const calls = participantCalls(options, backend);
  const enlist = enlistment({ ...options, backend, slots });
  const host: BranchHost = {
    name,
    backend,
    clock,
    callTimeoutMs,
    abort: (branch, callOptions) => calls.finish('abort', branch, callOptions, rollbackPrepared),
    settledStatus: (evidence, signal) =>
      calls.read('outcome', { signal }, (resource) => settledStatus(resource, evidence)),
  };
  return {
    name,
    backend: 'postgres',
    enlist: (context: BranchContext, source: AbortSource = context.signal) =>
      gate.run(async () => {
        return new PostgresBranch(host, context, await enlist(context, source), source);
      }),
    commit: (branch, callOptions) => calls.finish('commit', branch, callOptions, commitPrepared),
    abort: (branch, callOptions) => calls.finish('abort', branch, callOptions, rollbackPrepared),
    async recover(callOptions) {
      const rows = await calls.read('recover', callOptions, ({ run }) => listPrepared(run));
      slots.observe(rows.map(({ branchId }) => branchId));
      const ours = rows.filter(({ branchId, isHere }) => isHere && isBranchId(branchId));
      return ours.map(({ branchId, ageMs }) => ({ branchId, ageMs }));
    },
    async outcome(branch, callOptions) {
      literalOf(branch.branchId);
      return calls.read('outcome', callOptions, (resource) => branchOutcome(resource, branch));
    },
    async guarantees(callOptions) {
      const settings = await calls.read('guarantees', callOptions, ({ run }) => readSettings(run));
      assertCanPrepare(backend, settings);
      return guaranteesOf(backend, settings);
    },
    close: async () => {
      await gate.close(0);
    },
  };
}

/** Whether an id in the database has the form `‹transactionId›.‹n›`; everybody else's stay untouched. */
function isBranchId(id: string): boolean {
  return parseBranchId(id) !== undefined;
}
