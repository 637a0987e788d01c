import { isCoordinationError } from '../core/errors.js';
import { type ParsedTransactionId, parseTransactionId, type TransactionId } from '../core/ids.js';
import { parseBranchId } from './branch-id.js';
import type { IncarnationStatus, StoredCommitRecord } from './decision-log.js';
import { boundedCall, type RecoveryHost, silenceError } from './host.js';
import type { Participant, PreparedBranch } from './participant.js';
import {
  type RecoveryEffect,
  type RecoveryEvent,
  type RecoveryState,
  recovery,
  recoveryStart,
} from './recovery-machine.js';
import type { RecoveredBranch, RecoveryFailure, UnknownBranch } from './recovery-report.js';
import { isApplied, isRemoteName } from './remote/caller-desk.js';

/** What a pass has done so far. */
export interface PassFindings {
  readonly recovered: RecoveredBranch[];
  readonly failed: RecoveryFailure[];
  readonly unknown: UnknownBranch[];
  readonly unknownParticipants: Set<string>;
  readonly fenced: Set<string>;
  recommitted: number;
}

/** One look at everything, while it lasts. */
export interface RecoveryPass {
  readonly host: RecoveryHost;
  /** Ends the pass: the caller's wish, or the coordinator's end. */
  readonly signal: AbortSignal;
  /** Whether a branch that failed lately should be left alone for now. */
  readonly isDue: (participant: string, branchId: string) => boolean;
  readonly findings: PassFindings;
  /** Participants that did not answer in this pass: the rest of it does without them. */
  readonly silent: Set<string>;
  /** Asked once a pass: fences and records. */
  readonly fences: Map<string, Promise<void>>;
  readonly records: Map<TransactionId, Promise<StoredCommitRecord | undefined>>;
}

/** A prepared branch that nobody who lives takes care of. */
export interface OrphanBranch extends PreparedBranch {
  readonly transactionId: TransactionId;
  readonly origin: ParsedTransactionId;
  readonly owner: 'dead' | 'own';
}

/** So many transactions of one participant are finished side by side. */
const CONCURRENCY = 8;
/** So many records of one incarnation are taken up in a pass; the next pass takes the next ones. */
const RECORDS_MAX = 1_000;

/** A pass that has found nothing yet. */
export function recoveryPass(
  host: RecoveryHost,
  signal: AbortSignal,
  isDue: RecoveryPass['isDue'],
): RecoveryPass {
  return {
    host,
    signal,
    isDue,
    findings: {
      recovered: [],
      failed: [],
      unknown: [],
      unknownParticipants: new Set(),
      fenced: new Set(),
      recommitted: 0,
    },
    silent: new Set(),
    fences: new Map(),
    records: new Map(),
  };
}

/** A call of a pass: bounded, and ended with the pass. */
export function passCall<T>(
  { host, signal }: RecoveryPass,
  to: Participant | 'log',
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const backend = to === 'log' ? `${host.backend} log` : `participant "${to.name}"`;
  const timeoutReason = (): unknown => silenceError(backend, 'recovery');
  return boundedCall(host.clock, { signals: [signal], timeoutReason }, call);
}

/**
 * The prepared branches of a participant that are left over. The resource is listed first and the
 * incarnations afterwards, so that whoever prepared a listed branch had registered before.
 */
export async function orphansOf(
  pass: RecoveryPass,
  participant: Participant,
): Promise<readonly OrphanBranch[]> {
  const { host, findings } = pass;
  const activeBefore = new Set(host.active.keys());
  const listed = await passCall(pass, participant, (signal) => participant.recover({ signal }));
  const candidates = listed.flatMap((branch) => {
    const parsed = parseBranchId(branch.branchId);
    if (parsed === undefined) return [];
    const { namespace, authority } = parsed.origin;
    if (namespace === host.namespace && authority === host.authority) {
      return [{ ...branch, ...parsed }];
    }
    const { branchId } = branch;
    findings.unknown.push({ participant: participant.name, branchId, namespace, authority });
    return [];
  });
  if (candidates.length === 0) return [];
  const states = await statesOf(pass);
  const owned = candidates.map(async (branch): Promise<readonly OrphanBranch[]> => {
    const { transactionId, origin } = branch;
    if (host.active.has(transactionId) || activeBefore.has(transactionId)) return [];
    const isOwn = origin.incarnation === host.lives.incarnation;
    if (isOwn) return [{ ...branch, owner: 'own' }];
    if (states.get(origin.incarnation) !== 'live') return [{ ...branch, owner: 'dead' }];
    const owner = await passCall(pass, 'log', async (signal) => host.servedOwner?.(branch, signal));
    return owner === undefined ? [] : [{ ...branch, owner }];
  });
  return (await Promise.all(owned)).flat();
}

async function statesOf(pass: RecoveryPass): Promise<Map<string, IncarnationStatus['state']>> {
  const statuses = await passCall(pass, 'log', (signal) =>
    pass.host.session.incarnations({ signal }),
  );
  return new Map(statuses.map(({ incarnation, state }) => [incarnation, state]));
}

/** Finishes the orphans of one participant, transaction by transaction. */
export async function finishOrphans(
  pass: RecoveryPass,
  participant: Participant,
  orphans: readonly OrphanBranch[],
): Promise<void> {
  const due = orphans.filter(({ branchId }) => pass.isDue(participant.name, branchId));
  await inParallel(grouped(due), pass, (group) => finishGroup(pass, participant, group));
}

function grouped(orphans: readonly OrphanBranch[]): readonly (readonly OrphanBranch[])[] {
  const groups = new Map<TransactionId, OrphanBranch[]>();
  for (const orphan of orphans) {
    const group = groups.get(orphan.transactionId) ?? [];
    groups.set(orphan.transactionId, [...group, orphan]);
  }
  return Array.from(groups.values());
}

/** Drives the pure machine of one transaction's recovery at one participant. */
async function finishGroup(
  pass: RecoveryPass,
  participant: Participant,
  group: readonly OrphanBranch[],
): Promise<void> {
  const [first] = group;
  if (first === undefined) return;
  let state: RecoveryState = recoveryStart(group.map(({ branchId }) => branchId));
  let pending: RecoveryEffect[] = [];
  const happen = (event: RecoveryEvent): void => {
    const [next, effects] = recovery(state, event);
    state = next;
    pending = event.type === 'failed' ? [] : [...pending, ...effects];
  };
  happen({ type: 'start', owner: first.owner });
  while (pending.length > 0) {
    const [effect, ...rest] = pending as [RecoveryEffect, ...RecoveryEffect[]];
    pending = rest;
    if (effect.type === 'commit' || effect.type === 'abort') {
      const orphan = group.find(({ branchId }) => branchId === effect.branchId) ?? first;
      await endOrphan(pass, participant, orphan, effect);
      continue;
    }
    try {
      happen(await look(pass, first, effect.type));
    } catch (error) {
      const { branchId } = first;
      pass.findings.failed.push({ participant: participant.name, branchId, error });
      happen({ type: 'failed' });
    }
  }
}

/** Fences the incarnation, or finds the record, once for all branches of this pass. */
async function look(
  pass: RecoveryPass,
  { origin, transactionId }: OrphanBranch,
  what: 'fence' | 'find',
): Promise<RecoveryEvent> {
  if (what === 'fence') {
    await fence(pass, origin.incarnation);
    return { type: 'fenced' };
  }
  // Asked only after the fence: an answer from before it would prove nothing.
  const finding =
    pass.records.get(transactionId) ??
    passCall(pass, 'log', (signal) => pass.host.session.find(transactionId, { signal }));
  pass.records.set(transactionId, finding);
  return { type: 'found', record: await finding };
}

/** Makes sure, once a pass, that an incarnation decides no more. */
export function fence(pass: RecoveryPass, incarnation: string): Promise<void> {
  const known = pass.fences.get(incarnation);
  if (known !== undefined) return known;
  const fencing = passCall(pass, 'log', async (signal) => {
    await pass.host.session.fence(incarnation, { signal });
    pass.findings.fenced.add(incarnation);
  });
  fencing.catch(() => {});
  pass.fences.set(incarnation, fencing);
  return fencing;
}

async function endOrphan(
  pass: RecoveryPass,
  participant: Participant,
  { branchId, transactionId, ageMs }: OrphanBranch,
  effect: Extract<RecoveryEffect, { type: 'commit' | 'abort' }>,
): Promise<void> {
  const { findings } = pass;
  const outcome = effect.type === 'commit' ? 'committed' : 'aborted';
  if (pass.silent.has(participant.name)) return;
  try {
    await passCall(pass, participant, async (signal) => {
      if (effect.type === 'abort') {
        return participant.abort({ branchId, evidence: '' }, { signal });
      }
      await participant.commit({ branchId, evidence: effect.evidence }, { signal });
      const record = await pass.records.get(transactionId);
      // Of several branches under one name, the last one counts: that is seen from the record.
      const name = onlyNameOf(record, branchId);
      if (record !== undefined && name !== undefined) await acknowledge(pass, record, name, signal);
    });
    const { name } = participant;
    const recovered = { transactionId, branchId, participant: name, outcome } as const;
    findings.recovered.push(ageMs === undefined ? recovered : { ...recovered, inDoubtMs: ageMs });
  } catch (error) {
    noteFailure(pass, participant.name, branchId, transactionId, error);
  }
}

/** Under which name the record has a branch, if no other branch of it has the same. */
function onlyNameOf(record: StoredCommitRecord | undefined, branchId: string): string | undefined {
  const { branches = [] } = record ?? {};
  const name = branches.find((each) => each.branchId === branchId)?.participant;
  const isOnly = branches.filter(({ participant }) => participant === name).length === 1;
  return isOnly ? name : undefined;
}

async function acknowledge(
  { host }: RecoveryPass,
  { transactionId, key }: Pick<StoredCommitRecord, 'transactionId' | 'key'>,
  participant: string,
  signal: AbortSignal,
): Promise<void> {
  // In this order: a record that is forgotten must have left its key behind.
  if (key !== undefined) await host.session.confirmKey(key, transactionId, { signal });
  await host.session.acknowledge([{ transactionId, participant }], { signal });
}

function noteFailure(
  { host, findings, silent }: RecoveryPass,
  participant: string,
  branchId: string,
  transactionId: TransactionId,
  error: unknown,
): void {
  findings.failed.push({ participant, branchId, error });
  if (isCoordinationError(error, 'BACKEND_UNAVAILABLE')) silent.add(participant);
  if (!isCoordinationError(error, 'OUTCOME_CONTRADICTED')) return;
  host.channels.contradicted.publish(() => ({ transactionId, branchId, participant, error }));
}

/**
 * The other direction, from the log to the resources: commits that somebody decided and nobody
 * acknowledged, of coordinators that are not there and of this one's finished transactions.
 */
export async function repeatCommits(pass: RecoveryPass): Promise<void> {
  const { host } = pass;
  const activeBefore = new Set(host.active.keys());
  const statuses = await passCall(pass, 'log', (signal) => host.session.incarnations({ signal }));
  for (const { incarnation, state, unacknowledgedCount } of statuses) {
    const isOwn = incarnation === host.lives.incarnation;
    if (unacknowledgedCount === 0 || (state === 'live' && !isOwn)) continue;
    if (!isOwn) await fence(pass, incarnation);
    const records = await passCall(pass, 'log', (signal) =>
      host.session.unacknowledged(incarnation, RECORDS_MAX, { signal }),
    );
    const left = records.filter(({ transactionId }) => {
      return !host.active.has(transactionId) && !activeBefore.has(transactionId);
    });
    await inParallel(left, pass, (record) => repeatCommit(pass, record));
  }
}

async function repeatCommit(pass: RecoveryPass, record: StoredCommitRecord): Promise<void> {
  const { participants } = pass.host;
  const isAfter = (name: string): boolean => participants.get(name)?.commitsAfterOthers === true;
  const names = record.unacknowledged;
  const isDone = await Promise.all(
    names.filter((name) => !isAfter(name)).map((name) => repeatAt(pass, record, name)),
  );
  if (isDone.includes(false)) return;
  await Promise.all(names.filter(isAfter).map((name) => repeatAt(pass, record, name)));
}

/**
 * Commits every branch that the record has under one name, and acknowledges them together. Answers
 * whether all of them are committed.
 */
async function repeatAt(
  pass: RecoveryPass,
  record: StoredCommitRecord,
  name: string,
): Promise<boolean> {
  const { host, findings } = pass;
  const participant = host.participants.get(name);
  const branches = record.branches.filter((each) => each.participant === name);
  const isOnly = branches.length === 1;
  if (participant === undefined) {
    await repeatElsewhere(pass, record, name);
    return false;
  }
  // A single branch that this pass has finished is acknowledged already.
  const left = branches.filter(({ branchId }) => !isOnly || !isRecovered(pass, branchId));
  if (left.length === 0) return true;
  if (pass.silent.has(name)) return false;
  for (const { branchId, evidence } of left) {
    if (!pass.isDue(name, branchId)) return false;
    try {
      await passCall(pass, participant, (signal) =>
        participant.commit({ branchId, evidence }, { signal }),
      );
      findings.recommitted += isRecovered(pass, branchId) ? 0 : 1;
    } catch (error) {
      noteFailure(pass, name, branchId, record.transactionId, error);
      return false;
    }
  }
  await acknowledgeSafely(pass, record, name);
  return true;
}

function isRecovered({ findings }: RecoveryPass, branchId: string): boolean {
  return findings.recovered.some((each) => each.branchId === branchId);
}

/** A branch of a remote call is its server's to finish; this coordinator only hears of it. */
async function repeatElsewhere(
  pass: RecoveryPass,
  record: StoredCommitRecord,
  name: string,
): Promise<void> {
  const { host, findings } = pass;
  if (!isRemoteName(name)) {
    findings.unknownParticipants.add(name);
    return;
  }
  const { incarnation } = parseTransactionId(record.transactionId) ?? {};
  const { calls } = host;
  if (calls === undefined || incarnation !== host.lives.incarnation) return;
  try {
    const applied = await passCall(pass, 'log', (signal) => isApplied(calls, record, name, signal));
    if (applied) await acknowledgeSafely(pass, record, name);
  } catch (error) {
    findings.failed.push({ participant: name, error });
  }
}

async function acknowledgeSafely(
  pass: RecoveryPass,
  record: StoredCommitRecord,
  name: string,
): Promise<void> {
  try {
    await passCall(pass, 'log', (signal) => acknowledge(pass, record, name, signal));
  } catch (error) {
    noteFailure(pass, name, record.branches[0]?.branchId ?? '', record.transactionId, error);
  }
}

/** A few at a time, in order; ends early with the pass. */
async function inParallel<Item>(
  items: readonly Item[],
  { signal }: RecoveryPass,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      if (signal.aborted) return;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}
