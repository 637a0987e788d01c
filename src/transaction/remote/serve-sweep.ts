import { elapsedMs, type Instant, instantOf } from '../../core/clock.js';
import { type ParsedBranchId, parseBranchId } from '../branch-id.js';
import type { IncarnationStatus } from '../decision-log.js';
import { boundedCall } from '../host.js';
import type { PreparedBranch } from '../participant.js';
import { SITES_AUTHORITY } from '../three-phase/sites-authority.js';
import { changeCall } from './call-desk.js';
import type { CallRecord } from './call-record.js';
import { decisionFor } from './serve-decision.js';
import type { ServeHost } from './serve-host.js';

/** So many calls are looked at in one sweep. */
const LISTED_MAX = 1_000;
/** What is over stands so long after its deadline, in milliseconds, for those who still ask. */
const OVER_RETAIN_MS = 60_000;

/**
 * A prepared branch without a call may be another service's in the same database, and its caller may
 * be well: it is fenced only when the branch has stayed for so long, in milliseconds.
 */
const MISSING_MS = 600_000;

/** What one sweep over the calls of a service knows. */
interface CallSweep {
  readonly host: ServeHost;
  readonly nowMs: number;
  readonly servers: ReadonlySet<string>;
  readonly states: ReadonlyMap<string, IncarnationStatus['state']>;
  /** Whether every resource was swept before. */
  readonly isComplete: boolean;
  /** Takes over a call whose server is gone. */
  readonly takeOver: (record: CallRecord) => Promise<void>;
}

/**
 * One look at every call of the service: hints that were lost, servers that died with a call, callers
 * that died before they ended one. The branches in the resources are swept before, by recovery.
 */
export async function sweepCalls(
  host: ServeHost,
  { takeOver, isComplete }: Pick<CallSweep, 'takeOver' | 'isComplete'>,
  signal: AbortSignal,
): Promise<void> {
  const { session } = host.desk;
  const call = <T>(ask: (bounded: AbortSignal) => Promise<T>): Promise<T> =>
    boundedCall(host.clock, { signals: [signal] }, ask);
  const records = await call((bounded) =>
    session.list(host.service, LISTED_MAX, { signal: bounded }),
  );
  if (records.length === 0) return;
  const [nowMs, servers, statuses] = await Promise.all([
    call((bounded) => session.nowMs({ signal: bounded })),
    call((bounded) => session.servers(host.service, { signal: bounded })),
    call((bounded) => host.session.incarnations({ signal: bounded })),
  ]);
  const states = new Map(statuses.map(({ incarnation, state }) => [incarnation, state]));
  const sweep: CallSweep = { host, nowMs, servers: new Set(servers), states, takeOver, isComplete };
  for (const record of records) {
    if (signal.aborted) return;
    await call((bounded) => sweepCall(sweep, record, bounded));
  }
}

async function sweepCall(sweep: CallSweep, record: CallRecord, signal: AbortSignal): Promise<void> {
  const { host, states, servers, nowMs } = sweep;
  const parsed = parseBranchId(record.callId);
  if (parsed === undefined) return;
  const isOwnerLive = states.get(parsed.origin.incarnation) === 'live';
  const here = host.serving.get(record.callId);
  if (parsed.origin.authority === SITES_AUTHORITY && record.state !== 'claimed') {
    // Its sites decide, and end its branches: the record is only a message here.
    if (here !== undefined && !isOwnerLive) here.orphaned();
    const isStale = record.state === 'ended' && nowMs > record.deadlineMs + OVER_RETAIN_MS;
    // A caller that was only slow finds it gone, and aborts, unless it has heard the vote before.
    if (here === undefined && (!isOwnerLive || isStale))
      await host.desk.session.remove(record, { signal });
    return;
  }
  if (here !== undefined) {
    here.look();
    if (here.isPrepared() && !isOwnerLive) await judge(sweep, record, parsed);
    return;
  }
  if (!isOwnerLive) return orphaned(sweep, record, parsed, signal);
  const isHolderGone = !servers.has(record.server) || isStray(host, record);
  const isLate = nowMs > record.deadlineMs;
  if (record.state === 'claimed' && isHolderGone && !isLate) return sweep.takeOver(record);
  if (record.state !== 'ended') return;
  // Of a server that died before its vote, a branch may be left that only this record tells of.
  if (record.vote === undefined && !sweep.isComplete) return;
  const isOld = nowMs > record.deadlineMs + OVER_RETAIN_MS;
  if (isHolderGone || isOld) await apply(sweep, record, signal);
}

/**
 * Whether this node has claimed a call without knowing: the reply was lost. One sweep is not enough to
 * tell, because the reply may just be on its way.
 */
function isStray({ desk, strays }: ServeHost, { callId, attempt, server }: CallRecord): boolean {
  if (server !== desk.session.address) return false;
  const claim = `${callId} ${attempt}`;
  if (strays.delete(claim)) return true;
  strays.add(claim);
  const [oldest] = strays.size > LISTED_MAX ? strays : [];
  if (oldest !== undefined) strays.delete(oldest);
  return false;
}

/** The caller died and this node holds the call: whatever it decided is found out. */
async function judge(
  { host }: CallSweep,
  record: CallRecord,
  { transactionId }: ParsedBranchId,
): Promise<void> {
  const branchIds = branchIdsOf(record);
  const outcome = await decisionFor(host, transactionId, branchIds);
  host.serving.get(record.callId)?.decided(outcome);
}

function branchIdsOf({ vote }: CallRecord): readonly string[] {
  return vote?.vote === 'yes' ? vote.branches.map(({ branchId }) => branchId) : [];
}

/** A call of a caller that is gone, which no node holds any more. */
async function orphaned(
  sweep: CallSweep,
  record: CallRecord,
  { transactionId }: ParsedBranchId,
  signal: AbortSignal,
): Promise<void> {
  const { host, servers } = sweep;
  const isHeldElsewhere = servers.has(record.server) && record.server !== host.desk.session.address;
  if (isHeldElsewhere) return;
  if (record.state === 'ended') return apply(sweep, record, signal);
  const outcome = await decisionFor(host, transactionId, branchIdsOf(record));
  const end = { type: 'end', outcome } as const;
  const { record: stands } = await changeCall(host.desk, record, end, signal);
  if (stands?.state === 'ended') await apply(sweep, stands, signal);
}

/** Does what an ended call says in the resources of this node, and removes it. */
async function apply({ host }: CallSweep, record: CallRecord, signal: AbortSignal): Promise<void> {
  const { vote, outcome } = record;
  for (const { participant: name, branchId, evidence } of vote?.vote === 'yes'
    ? vote.branches
    : []) {
    const participant = host.participants.get(name);
    // Another node has this resource.
    if (participant === undefined) return;
    if (outcome === 'committed') await participant.commit({ branchId, evidence }, { signal });
    else await participant.abort({ branchId, evidence }, { signal });
  }
  await host.desk.session.remove(record, { signal });
}

/**
 * Whether a prepared branch of a live caller, which no call of this node knows, is over. Its call's
 * record tells; where that is gone, the caller has to be fenced before anything is concluded, and is
 * given some time before that: another node may just be finishing the branch.
 */
export function servedOwner(host: ServeHost): NonNullable<ServeHost['servedOwner']> {
  const missing = new Map<string, Instant>();
  return async ({ branchId }: PreparedBranch, signal) => {
    const place = parseBranchId(branchId)?.remote;
    if (place === undefined) return undefined;
    const { callId, attempt } = place;
    const key = { callId, service: host.service };
    const record = await host.desk.session.read(key, { signal });
    if (record !== undefined) {
      missing.delete(branchId);
      // An attempt that was taken over never votes.
      return record.state === 'ended' || record.attempt > attempt ? 'own' : undefined;
    }
    const since = missing.get(branchId) ?? instantOf(host.clock);
    missing.set(branchId, since);
    for (const [oldest] of missing) {
      if (missing.size <= LISTED_MAX) break;
      missing.delete(oldest);
    }
    return elapsedMs(host.clock, since) >= MISSING_MS ? 'dead' : undefined;
  };
}
