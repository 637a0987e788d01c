import { impatiently } from './deadline.js';
import { ERRNO, errnoOf } from './errors.js';
import type { Resource } from './prepared.js';
import { BRANCHES_TABLE } from './setup-sql.js';

/** What a row says of a branch. */
export type NotedState = 'committed' | 'aborted';

const EVIDENCE = /^at:(\d{1,16})$/;
/**
 * A row of a branch that was committed is deleted at the earliest after evidenceRetainMs; this much
 * before, its absence is no longer taken for proof, because clocks run apart.
 */
const MARGIN_MS = 600_000;

/** Parameters: participant, branch, state. The row commits with the branch that inserts it. */
export const NOTE: string = `into ${BRANCHES_TABLE} (participant, branch_id, state, connection_id, noted_at)
  values (?, ?, ?, connection_id(), utc_timestamp(6))`;
/** Parameters: participant, branch. Waits for whoever is about to commit or roll back the row. */
const LOCKED_STATE = `state from ${BRANCHES_TABLE}
  where participant = ? and branch_id = ? lock in share mode`;
/** Parameters: participant, branch. */
const PLAIN_STATE = `select state from ${BRANCHES_TABLE} where participant = ? and branch_id = ?`;
/** Sees rows that are not committed: the next transaction only, which is the next statement. */
const DIRTY = 'set transaction isolation level read uncommitted';
/** Parameters: participant, branch. */
const OWNER = `select connection_id from ${BRANCHES_TABLE} where participant = ? and branch_id = ?`;
/** Parameters: participant, branches. */
const AGES = `select branch_id, timestampdiff(microsecond, noted_at, utc_timestamp(6)) / 1000
  from ${BRANCHES_TABLE} where participant = ? and branch_id in (?)`;
const NOW = 'select unix_timestamp(now(6)) * 1000';
/** Parameters: participant, age in microseconds. */
const PRUNE = `delete from ${BRANCHES_TABLE} where participant = ? and
  noted_at < utc_timestamp(6) - interval ? microsecond limit 10000`;

/** Evidence of a yes: when the row was written, by the server's clock. */
export const evidenceOf = (atMs: number): string => `at:${Math.floor(atMs)}`;

/** The server's clock. */
export async function serverNowMs(run: Resource['run']): Promise<number> {
  const { rows } = await run(NOW);
  return Number(rows[0]?.[0]);
}

/**
 * What the row of a branch says, once nobody is about to change it. Undefined where there is none:
 * a branch that once voted yes was then rolled back.
 */
export async function settledState(
  { participant, flavour, run }: Resource,
  branchId: string,
): Promise<NotedState | undefined> {
  const { rows } = await run(impatiently(flavour, 'select', LOCKED_STATE), [participant, branchId]);
  await run('commit');
  return stateIn(rows[0]);
}

/** What the row of a branch says now; waits for nobody. */
export async function plainState(
  { participant, run }: Resource,
  branchId: string,
): Promise<NotedState | undefined> {
  const { rows } = await run(PLAIN_STATE, [participant, branchId]);
  await run('commit');
  return stateIn(rows[0]);
}

/** Notes that a branch is aborted, so that a prepare that comes late finds the row and is refused. */
export async function noteAborted(
  resource: Resource,
  branchId: string,
): Promise<NotedState | undefined> {
  const { participant, flavour, run } = resource;
  try {
    await run(impatiently(flavour, 'insert', NOTE), [participant, branchId, 'aborted']);
    await run('commit');
    return 'aborted';
  } catch (error) {
    await run('rollback');
    if (errnoOf(error) !== ERRNO.duplicateEntry) throw error;
    return plainState(resource, branchId);
  }
}

/** Which connection began a branch that has not ended: only its uncommitted row knows. */
export async function ownerOf(
  { participant, run }: Resource,
  branchId: string,
): Promise<number | undefined> {
  await run(DIRTY);
  const { rows } = await run(OWNER, [participant, branchId]);
  await run('commit');
  const id = Number(rows[0]?.[0]);
  return Number.isSafeInteger(id) && id > 0 ? id : undefined;
}

/** For how long branches have been prepared, in milliseconds. */
export async function agesOf(
  { participant, run }: Resource,
  branchIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (branchIds.length === 0) return new Map();
  await run(DIRTY);
  const { rows } = await run(AGES, [participant, branchIds]);
  await run('commit');
  return new Map(rows.map(([id, ageMs]) => [String(id), Math.max(0, Number(ageMs))]));
}

/** Whether the row of a branch with this evidence would still be there. */
export async function isConclusive(
  run: Resource['run'],
  evidence: string,
  retainMs: number,
): Promise<boolean> {
  const at = EVIDENCE.exec(evidence)?.[1];
  if (at === undefined) return false;
  return (await serverNowMs(run)) - Number(at) < retainMs - MARGIN_MS;
}

/** Deletes what nobody asks for any more. */
export async function prune(
  participant: string,
  run: Resource['run'],
  retainMs: number,
): Promise<void> {
  await run(PRUNE, [participant, Math.round(retainMs * 1_000)]);
  await run('commit');
}

function stateIn(row: readonly unknown[] | undefined): NotedState | undefined {
  const [state] = row ?? [];
  return state === 'committed' || state === 'aborted' ? state : undefined;
}
