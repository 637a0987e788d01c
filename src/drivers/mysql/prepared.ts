import { type AbortSource, sleep } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import { systemRandom } from '../../core/random.js';
import { branchAbortedError, contradictedError } from '../../transaction/branch-errors.js';
import type { BranchOutcome, BranchRecord, PreparedBranch } from '../../transaction/participant.js';
import type { MysqlResult } from './client.js';
import { ERRNO, errnoOf, isRolledBack, resultUnknown } from './errors.js';
import {
  agesOf,
  isConclusive,
  type NotedState,
  noteAborted,
  ownerOf,
  plainState,
  settledState,
} from './evidence.js';
import { type Flavour, recoverRefusal } from './settings.js';
import type { XidSpace } from './xid.js';

/** Where statements about prepared branches run, and for how long they are waited for. */
export interface Resource {
  readonly participant: string;
  readonly backend: string;
  readonly flavour: Flavour;
  readonly xids: XidSpace;
  readonly evidenceRetainMs: number;
  readonly clock: Clock;
  readonly signal: AbortSource;
  run(sql: string, values?: readonly unknown[]): Promise<MysqlResult>;
}

const BUSY_BACKOFF = { baseMs: 5, maxMs: 200 };
/** An owner that is alive finishes its branch by itself; after so many looks it is let go. */
const OWNER_PATIENCE = 6;
/** The session's own choice is kept in it, for whoever gets the connection afterwards. */
const AUTOCOMMIT_ON = 'set @tricord_autocommit = @@session.autocommit, session autocommit = 1';
/** Gives a session its own choice back; changes nothing where it was not taken. */
export const AUTOCOMMIT_BACK =
  'set session autocommit = ifnull(@tricord_autocommit, @@session.autocommit), @tricord_autocommit = null';
/** Recovery looks at so many at a time. */
const RECOVER_MAX = 3_000;

/** Lists the prepared branches of this participant, those of living owners included. */
export async function listPrepared(resource: Resource): Promise<readonly PreparedBranch[]> {
  const ids = (await listIds(resource)).slice(0, RECOVER_MAX);
  const ages = await agesOf(resource, ids);
  return ids.map((branchId) => ({ branchId, ageMs: ages.get(branchId) }));
}

async function listIds({ backend, xids, run }: Resource): Promise<readonly string[]> {
  try {
    return xids.ours(await run('xa recover'));
  } catch (error) {
    throw recoverRefusal(backend, error) ?? error;
  }
}

/** What became of a branch: first whether it is prepared, then what its row says. */
export async function branchOutcome(
  resource: Resource,
  branch: BranchRecord,
): Promise<BranchOutcome> {
  if ((await listIds(resource)).includes(branch.branchId)) return 'prepared';
  return (await statusOf(resource, branch)) ?? 'unknown';
}

/**
 * How a branch that is not prepared any more ended. Without a row it was rolled back, if it ever said
 * yes and the row would still be there; otherwise it may have been anything.
 */
async function statusOf(
  resource: Resource,
  { branchId, evidence }: BranchRecord,
): Promise<NotedState | undefined> {
  const { run, evidenceRetainMs } = resource;
  if (evidence === '') return plainState(resource, branchId);
  const state = await settled(resource, branchId);
  if (state !== undefined) return state;
  return (await isConclusive(run, evidence, evidenceRetainMs)) ? 'aborted' : undefined;
}

/** Reads the row as often as it takes for whoever holds it to end. */
async function settled(resource: Resource, branchId: string): Promise<NotedState | undefined> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await settledState(resource, branchId);
    } catch (error) {
      if (errnoOf(error) !== ERRNO.lockWaitTimeout) throw error;
    }
    await pause(resource, attempt);
  }
}

/** Commits a prepared branch. One that is no longer there must have been committed, by evidence. */
export async function commitPrepared(resource: Resource, branch: BranchRecord): Promise<void> {
  const { participant, backend } = resource;
  const { branchId } = branch;
  if ((await finish(resource, 'commit', branchId)) === 'finished') return;
  const state = await statusOf(resource, branch);
  if (state === 'committed') return;
  if (state === 'aborted') throw branchAbortedError(participant, branchId);
  const fact = new Error('it is not prepared any more and its evidence is gone');
  throw resultUnknown(backend, `commit of branch ${branchId}`, fact);
}

/**
 * Rolls back a prepared branch. One that is not there is noted as aborted, so that its late prepare
 * is refused; and so, too, a one-phase commit whose reply was lost is kept from arriving still.
 */
export async function rollbackPrepared(resource: Resource, branch: BranchRecord): Promise<void> {
  const { participant } = resource;
  const { branchId } = branch;
  for (let attempt = 0; ; attempt += 1) {
    if ((await finish(resource, 'rollback', branchId)) === 'finished') return;
    try {
      const found = await noteAborted(resource, branchId);
      if (found !== 'committed') return;
      throw contradictedError({ participant, branchId, wanted: 'aborted', found });
    } catch (error) {
      if (errnoOf(error) !== ERRNO.lockWaitTimeout) throw error;
    }
    // Its owner has begun to prepare it and gets no further: it must not, any more.
    await letGoOwner(resource, branchId);
    await pause(resource, attempt);
  }
}

/**
 * XA COMMIT or XA ROLLBACK. An unknown xid (1397) has several meanings: it was finished, it never was,
 * or its owner's connection still has it, which XA RECOVER tells apart.
 */
async function finish(
  resource: Resource,
  verb: 'commit' | 'rollback',
  branchId: string,
): Promise<'finished' | 'missing'> {
  const { xids, run } = resource;
  for (let attempt = 0; ; attempt += 1) {
    try {
      await run(`xa ${verb} ${xids.literal(branchId)}`);
      return 'finished';
    } catch (error) {
      if (isRolledBack(error)) return 'missing';
      const errno = errnoOf(error);
      if (errno !== ERRNO.xaUnknown && errno !== ERRNO.xaOutside) throw error;
      // With autocommit off a connection finishes its own branches alone, no recovered ones.
      if (errno === ERRNO.xaOutside) {
        if (attempt > 0) throw error;
        await run('rollback');
        await run(AUTOCOMMIT_ON);
        continue;
      }
    }
    if (!(await listIds(resource)).includes(branchId)) return 'missing';
    if (attempt >= OWNER_PATIENCE) await letGoOwner(resource, branchId);
    await pause(resource, attempt);
  }
}

/**
 * Ends the connection that keeps a branch to itself: its process was paused, or lost on the way, and
 * the server would wait for it as long as the connection looks alive. The branch stays prepared. A
 * connection's number is used once in a server's life, and an account may end its own connections.
 */
async function letGoOwner(resource: Resource, branchId: string): Promise<void> {
  const owner = await ownerOf(resource, branchId);
  if (owner === undefined) return;
  try {
    await resource.run(`kill ${owner}`);
  } catch (error) {
    const errno = errnoOf(error);
    // Gone meanwhile; or another account's, which its own wait_timeout ends.
    if (errno !== ERRNO.noSuchThread && errno !== ERRNO.killDenied) throw error;
  }
}

function pause({ clock, signal }: Resource, attempt: number): Promise<void> {
  return sleep(clock, backoffMs(attempt, BUSY_BACKOFF, systemRandom), { signal });
}
