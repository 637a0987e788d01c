import { type AbortSource, sleep } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import { systemRandom } from '../../core/random.js';
import { invalidArgument } from '../../core/validate.js';
import { branchAbortedError, contradictedError } from '../../transaction/branch-errors.js';
import type { BranchOutcome, BranchRecord } from '../../transaction/participant.js';
import type { StatementResult } from './client.js';
import { messageOf, resultUnknown, SQLSTATE, sqlState, unsupported } from './errors.js';

/** Where statements about prepared branches run, and for how long they are waited for. */
export interface Resource {
  readonly participant: string;
  readonly backend: string;
  readonly clock: Clock;
  readonly signal: AbortSource;
  run(text: string): Promise<readonly StatementResult[]>;
}

/** The only characters of a branch id: it stands in statements as a literal, never as a parameter. */
const BRANCH_ID = /^[A-Za-z0-9_.-]{1,64}$/;
const EVIDENCE = /^xid8:(\d{1,20})$/;
const BUSY_BACKOFF = { baseMs: 5, maxMs: 200 };

/** The branch id as an SQL literal. */
export function literalOf(branchId: string): string {
  if (typeof branchId === 'string' && BRANCH_ID.test(branchId)) return `'${branchId}'`;
  throw invalidArgument('branchId', branchId, '1 to 64 characters of [A-Za-z0-9_.-]');
}

/** Evidence of a branch: its transaction id in the 64-bit form, which does not wrap around. */
export const evidenceOf = (xid: string): string => `xid8:${xid}`;

function xidOf(evidence: string): string | undefined {
  return EVIDENCE.exec(evidence)?.[1];
}

/** What became of a transaction, by the commit log of the database. */
export type XactStatus = 'committed' | 'aborted' | 'in progress' | 'unknown';

/** Asks the commit log. 'unknown' without evidence, too long ago, or of a transaction never seen. */
export async function xactStatus(resource: Resource, evidence: string): Promise<XactStatus> {
  const xid = xidOf(evidence);
  if (xid === undefined) return 'unknown';
  try {
    const [result] = await resource.run(`select pg_xact_status('${xid}'::xid8) as status`);
    const status = result?.rows[0]?.status;
    return status === 'committed' || status === 'aborted' || status === 'in progress'
      ? status
      : 'unknown';
  } catch (error) {
    // "transaction ID is in the future": the database was restored, or failed over without it.
    if (sqlState(error) === SQLSTATE.invalidParameterValue) return 'unknown';
    throw error;
  }
}

/** Asks until the transaction is no longer in progress, or the signal ends the wait. */
export async function settledStatus(resource: Resource, evidence: string): Promise<XactStatus> {
  for (let attempt = 0; ; attempt += 1) {
    const status = await xactStatus(resource, evidence);
    if (status !== 'in progress') return status;
    await pause(resource, attempt);
  }
}

/** The prepared branches of this database, and all that occupy a slot of the server. */
export interface PreparedRow {
  readonly branchId: string;
  readonly ageMs: number;
  /** Whether it belongs to the database that we are connected to; only those can be finished here. */
  readonly isHere: boolean;
}

/** Lists what is prepared on the server. Never more than its max_prepared_transactions. */
export async function listPrepared(
  run: (text: string) => Promise<readonly StatementResult[]>,
): Promise<readonly PreparedRow[]> {
  const [result] = await run(
    'select gid, database = current_database() as here, ' +
      '(extract(epoch from clock_timestamp() - prepared) * 1000)::text as age_ms ' +
      'from pg_prepared_xacts order by prepared',
  );
  return (result?.rows ?? []).map((row) => ({
    branchId: String(row.gid),
    ageMs: Math.max(0, Number(row.age_ms)),
    isHere: row.here === true,
  }));
}

/** What became of a branch: first whether it is prepared, then what the commit log says of it. */
export async function branchOutcome(
  resource: Resource,
  branch: BranchRecord,
): Promise<BranchOutcome> {
  const literal = literalOf(branch.branchId);
  const [result] = await resource.run(
    `select 1 from pg_prepared_xacts where gid = ${literal} and database = current_database()`,
  );
  if (result !== undefined && result.rows.length > 0) return 'prepared';
  const status = await xactStatus(resource, branch.evidence);
  // Not prepared and in progress: its owner still works in it, or somebody is finishing it just now.
  return status === 'in progress' ? 'unknown' : status;
}

/** Commits a prepared branch. One that is no longer there must have been committed, by evidence. */
export async function commitPrepared(resource: Resource, branch: BranchRecord): Promise<void> {
  if ((await finish(resource, 'commit', branch.branchId)) === 'finished') return;
  const status = await settledStatus(resource, branch.evidence);
  if (status === 'committed') return;
  const { participant } = resource;
  if (status === 'aborted') throw branchAbortedError(participant, branch.branchId);
  throw resultUnknown(
    resource.backend,
    `commit of branch ${branch.branchId}`,
    new Error('it is not prepared any more and its evidence is gone'),
  );
}

/** Rolls back a prepared branch. One that is not there was never prepared, or is already over. */
export async function rollbackPrepared(resource: Resource, branch: BranchRecord): Promise<void> {
  if ((await finish(resource, 'rollback', branch.branchId)) === 'finished') return;
  if ((await xactStatus(resource, branch.evidence)) !== 'committed') return;
  const [wanted, found] = ['aborted', 'committed'] as const;
  const { participant } = resource;
  throw contradictedError({ participant, branchId: branch.branchId, wanted, found });
}

/** COMMIT PREPARED or ROLLBACK PREPARED, again for as long as another session is at it. */
async function finish(
  resource: Resource,
  verb: 'commit' | 'rollback',
  branchId: string,
): Promise<'finished' | 'missing'> {
  const statement = `${verb} prepared ${literalOf(branchId)}`;
  for (let attempt = 0; ; attempt += 1) {
    try {
      await resource.run(statement);
      return 'finished';
    } catch (error) {
      const state = sqlState(error);
      if (state === SQLSTATE.undefinedObject) return 'missing';
      if (state !== SQLSTATE.objectNotInPrerequisiteState) {
        throw refusal(resource, branchId, error) ?? error;
      }
    }
    await pause(resource, attempt);
  }
}

function refusal(resource: Resource, branchId: string, error: unknown): Error | undefined {
  const { backend } = resource;
  const found = messageOf(error);
  if (sqlState(error) === SQLSTATE.featureNotSupported) {
    const needed = `the database in which ${branchId} was prepared`;
    const remedy = 'give every participant a pool of its own database';
    return unsupported(backend, { setting: 'database', found, needed }, remedy, error);
  }
  if (sqlState(error) === SQLSTATE.insufficientPrivilege) {
    const needed = `the role that prepared ${branchId}, or a superuser`;
    const remedy = 'connect every node of the service with the same role';
    return unsupported(backend, { setting: 'role', found, needed }, remedy, error);
  }
  return undefined;
}

function pause({ clock, signal }: Resource, attempt: number): Promise<void> {
  return sleep(clock, backoffMs(attempt, BUSY_BACKOFF, systemRandom), { signal });
}
