import { abortScope } from '../../core/abort.js';
import { type Clock, elapsedMs, type Instant, instantOf, systemClock } from '../../core/clock.js';
import { assertParticipantName } from '../../core/participant-name.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import { workGate } from '../../core/work-gate.js';
import type { Participant } from '../../transaction/participant.js';
import { type BranchHost, MysqlBranch } from './branch.js';
import { type CallsOptions, participantCalls } from './calls.js';
import { assertPool, type MysqlBranchClient, type MysqlPool } from './client.js';
import type { Connection } from './connection.js';
import { restoreSql } from './deadline.js';
import { enlistment } from './enlist.js';
import { prune } from './evidence.js';
import { branchOutcome, commitPrepared, listPrepared, rollbackPrepared } from './prepared.js';
import { serverFacts } from './server.js';
import { type Flavour, guaranteesOf } from './settings.js';
import { xidSpace } from './xid.js';

/** Options of {@link mysqlParticipant}. */
export interface MysqlParticipantOptions<Pool extends MysqlPool = MysqlPool> {
  /** Unique and stable for ever: it stands in commit records. 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly name: string;
  /**
   * The service's own `mysql2/promise` pool of this one database. A branch occupies a connection from
   * `enlist` to its end; give every participant a pool of its own, or transactions can wait for each
   * other's connections until their time-out.
   */
  readonly pool: Pool;
  /** A call outside a branch, and a reply inside one, is waited for this long, in milliseconds. Default 10,000. */
  readonly callTimeoutMs?: number | undefined;
  /** How many `enlist` may wait for a connection; more are refused with PARTICIPANT_FULL. Default 1,000. */
  readonly waitersMax?: number | undefined;
  /**
   * Rows of evidence are kept for so many milliseconds: at least an hour, the same on every node, and
   * longer than a commit may stay unacknowledged. Default 7 days.
   */
  readonly evidenceRetainMs?: number | undefined;
  /** For tests. */
  readonly clock?: Clock | undefined;
}

const CALL_TIMEOUT_MS = 10_000;
const WAITERS_MAX = 1_000;
const EVIDENCE_RETAIN_MS = 7 * 24 * 3_600_000;
const EVIDENCE_RETAIN_MS_MIN = 3_600_000;
const PRUNE_INTERVAL_MS = 60_000;
const CLOSE_WAIT_MS = 2_000;

/**
 * A database on MariaDB (10.5 or newer) or MySQL (8.0.29 or newer) that takes part in transactions by
 * XA.
 *
 * `tx.enlist` answers a client with `mysql2`'s own `query` and `execute`, inside the branch. A yes is
 * durable before it is given; a branch that wrote nothing is over at its vote; the only branch of a
 * transaction commits in one phase. Every error of a statement makes the branch vote no. What became
 * of a branch is read from a row that commits with it, never guessed from an error. Statements of a
 * branch, their waits for locks and the time between them are bounded by the time that the transaction
 * has left, which is also what ends a deadlock over two servers.
 *
 * Needs the tables of {@link setupSql} in the pool's database and, on MySQL, the privilege
 * XA_RECOVER_ADMIN; without them BACKEND_UNSUPPORTED says what to do. Every node connects with the
 * same account. MariaDB leaves a prepared branch to the connection that prepared it: recovery ends
 * that connection when its process does not. Only InnoDB tables take part; others change at once.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed name, pool or number.
 */
export function mysqlParticipant<Pool extends MysqlPool>(
  options: MysqlParticipantOptions<Pool>,
): Participant<MysqlBranchClient<Pool>> {
  assertOptions(options, '{ name, pool }');
  const { name, pool, clock = systemClock } = options;
  const { callTimeoutMs = CALL_TIMEOUT_MS, waitersMax = WAITERS_MAX } = options;
  const { evidenceRetainMs = EVIDENCE_RETAIN_MS } = options;
  assertParticipantName(name);
  assertPool(pool);
  assertNumber('callTimeoutMs', callTimeoutMs, { min: 1 });
  assertNumber('waitersMax', waitersMax, { min: 0, integer: true });
  assertNumber('evidenceRetainMs', evidenceRetainMs, { min: EVIDENCE_RETAIN_MS_MIN });
  const backend = `mysql ${name}`;
  const participant = createParticipant({
    ...{ name, backend, pool, clock, callTimeoutMs, waitersMax, evidenceRetainMs },
    xids: xidSpace(name),
    server: serverFacts(backend, clock),
  });
  // The handle's methods are the pool's own by construction: the same connection answers both.
  return participant as Participant<MysqlBranchClient<Pool>>;
}

interface CheckedOptions extends CallsOptions {
  readonly waitersMax: number;
}

function createParticipant(options: CheckedOptions): Participant<MysqlBranchClient<MysqlPool>> {
  const { name, backend, clock, xids } = options;
  const gate = workGate(`the participant ${backend}`, clock);
  const calls = participantCalls(options);
  const enlist = enlistment(options);
  const held = new Set<MysqlBranch>();
  const giveBack = connectionReturn(options, gate.run);
  const host: BranchHost = {
    ...options,
    giveBack,
    abort: (branch, callOptions) => calls.finish('abort', branch, callOptions, rollbackPrepared),
    hold(branch) {
      held.add(branch);
      return () => held.delete(branch);
    },
  };
  return {
    name,
    backend: 'mysql',
    enlist: (context) =>
      gate.run(async () => new MysqlBranch(host, context, await enlist(context))),
    commit: (branch, callOptions) => calls.finish('commit', branch, callOptions, commitPrepared),
    abort: host.abort,
    recover: (callOptions) => calls.read('recover', callOptions, listPrepared),
    async outcome(branch, callOptions) {
      xids.literal(branch.branchId);
      return calls.read('outcome', callOptions, (resource) => branchOutcome(resource, branch));
    },
    async guarantees(callOptions) {
      const settings = await calls.settings(callOptions);
      // MySQL tells by it alone whether the account may recover anything.
      await calls.read('guarantees', callOptions, listPrepared);
      return guaranteesOf(backend, settings);
    },
    async close() {
      // What is prepared is left to others, and they can finish only what nobody holds.
      for (const branch of Array.from(held)) branch.detach();
      await gate.close(CLOSE_WAIT_MS);
    },
  };
}

/**
 * Gives a session its own limits back before the pool gets it, after the branch has answered; now and
 * then it deletes old evidence on the way.
 */
function connectionReturn(
  { name, clock, callTimeoutMs, evidenceRetainMs }: CheckedOptions,
  tracked: (work: () => Promise<void>) => Promise<void>,
): BranchHost['giveBack'] {
  let prunedAt: Instant = instantOf(clock);
  const tidy = async (connection: Connection, flavour: Flavour): Promise<void> => {
    using scope = abortScope({ clock, timeoutMs: callTimeoutMs });
    const { signal } = scope;
    try {
      if (elapsedMs(clock, prunedAt) >= PRUNE_INTERVAL_MS) {
        prunedAt = instantOf(clock);
        await prune(name, (sql, values) => connection.run(sql, values, signal), evidenceRetainMs);
      }
      await connection.run(restoreSql(flavour), [], signal);
      connection.release();
    } catch {
      connection.destroy();
    }
  };
  return (connection, flavour) => {
    tracked(() => tidy(connection, flavour)).catch(() => connection.destroy());
  };
}
