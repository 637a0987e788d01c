import { systemClock } from '../core/clock.js';
import { parseTransactionId, type TransactionId } from '../core/ids.js';
import { systemRandom } from '../core/random.js';
import { parseBranchId } from '../transaction/branch-id.js';
import type {
  DecisionLogSession,
  IncarnationStatus,
  StoredCommitRecord,
} from '../transaction/decision-log.js';
import type { BranchOutcome, Participant, PreparedBranch } from '../transaction/participant.js';
import { isRemoteName } from '../transaction/remote/caller-desk.js';
import { withTimeout } from './bounds.js';
import { type BranchFacts, branchFacts } from './branch-facts.js';
import type { CommandSources } from './sources.js';

/** What `tricord doctor` says about one branch. */
export interface BranchDiagnosis {
  readonly transactionId: TransactionId;
  readonly branchId: string;
  readonly participant: string;
  /** How long it has been prepared, in milliseconds; undefined where the resource cannot tell. */
  readonly ageMs?: number | undefined;
  /** Whether the coordinator that began it is there. */
  readonly coordinator: IncarnationStatus['state'] | 'unknown';
  /** 'commit': the record is there. 'none': it is not. 'unknown': the log was not asked. */
  readonly decision: 'commit' | 'none' | 'unknown';
  /** What the resource itself says. */
  readonly evidence: BranchOutcome;
  /** Sessions that wait for what it has locked. */
  readonly blockedSessions?: number | undefined;
  /** Transactions that VACUUM cannot clean up behind it. */
  readonly vacuumHorizon?: number | undefined;
  /** Whether somebody has to finish it. */
  readonly isInDoubt: boolean;
  /** The one safe thing to do. */
  readonly action: string;
}

/** What `tricord doctor` says. */
export interface Diagnosis {
  readonly namespace: string;
  readonly branches: readonly BranchDiagnosis[];
  /** What could not be looked at, one sentence each. */
  readonly errors: readonly string[];
}

/** Everything that the decision of one branch rests on. */
export interface Findings {
  readonly session: DecisionLogSession | undefined;
  readonly authority: string | undefined;
  readonly namespace: string;
  readonly participants: readonly Participant[];
  readonly states: ReadonlyMap<string, IncarnationStatus['state']>;
  readonly errors: string[];
}

const RECORDS_MAX = 1_000;

/** The transaction of a branch, or the text itself. */
export function transactionOf(branchId: string): string {
  return parseBranchId(branchId)?.transactionId ?? branchId;
}

/** Looks at everything, and touches nothing. */
export async function diagnose(sources: CommandSources): Promise<Diagnosis> {
  const findings = await findingsOf(sources);
  const { namespace, errors, participants, session } = findings;
  const branches: BranchDiagnosis[] = [];
  for (const participant of participants) {
    try {
      branches.push(...(await lookAt(findings, participant, sources.clients ?? {})));
    } catch (error) {
      errors.push(`participant "${participant.name}" could not be looked at: ${textOf(error)}`);
    }
  }
  try {
    branches.push(...(await unacknowledged(findings, branches)));
  } catch (error) {
    errors.push(`the records of the log could not be read: ${textOf(error)}`);
  } finally {
    await session?.close();
  }
  return { namespace, branches, errors };
}

/** Opens the log for looking; it registers nothing. */
export async function findingsOf(sources: CommandSources): Promise<Findings> {
  const { log, participants = [], namespace = 'default' } = sources;
  const errors: string[] = [];
  const node = { nodeId: 'tricord-doctor', namespace, clock: systemClock, random: systemRandom };
  const session = log?.open(node);
  const states = new Map<string, IncarnationStatus['state']>();
  if (session === undefined) errors.push('no log was given: decisions are not known');
  try {
    const statuses = await withTimeout('the log', (signal) => session?.incarnations({ signal }));
    for (const { incarnation, state } of statuses ?? []) states.set(incarnation, state);
  } catch (error) {
    errors.push(`the log could not be read: ${textOf(error)}`);
  }
  return { session, authority: log?.authority, namespace, participants, states, errors };
}

async function lookAt(
  findings: Findings,
  participant: Participant,
  clients: Readonly<Record<string, unknown>>,
): Promise<readonly BranchDiagnosis[]> {
  const { name } = participant;
  const listed = await withTimeout(name, (signal) => participant.recover({ signal }));
  const facts = await branchFacts(clients[name], listed).catch((error: unknown) => {
    findings.errors.push(`blocked sessions of "${name}" could not be read: ${textOf(error)}`);
    return new Map<string, BranchFacts>();
  });
  const all = listed.map(async (branch) => {
    const seen = await diagnosisOf(findings, participant, branch);
    return { ...seen, ...facts.get(branch.branchId) };
  });
  return Promise.all(all);
}

async function diagnosisOf(
  findings: Findings,
  participant: Participant,
  { branchId, ageMs }: PreparedBranch,
): Promise<BranchDiagnosis> {
  const transactionId = transactionOf(branchId) as TransactionId;
  const origin = parseTransactionId(transactionId);
  const { states, namespace, authority } = findings;
  const coordinator: BranchDiagnosis['coordinator'] =
    states.get(origin?.incarnation ?? '') ?? 'unknown';
  const about = { transactionId, branchId, participant: participant.name, ageMs, coordinator };
  const isOurs = origin?.namespace === namespace;
  if (!isOurs || (authority !== undefined && origin.authority !== authority)) {
    const where = isOurs ? `log "${origin?.authority}"` : `namespace "${origin?.namespace}"`;
    const action = `leave it alone: it belongs to ${where}`;
    const [decision, evidence] = ['unknown', 'prepared'] as const;
    return { ...about, decision, evidence, isInDoubt: false, action };
  }
  const record = await recordOf(findings, transactionId);
  const decision = record === 'unknown' ? 'unknown' : decisionOf(record, branchId);
  const evidence = await evidenceOf(findings, participant, branchId, record);
  const isInDoubt = coordinator !== 'live';
  return { ...about, decision, evidence, isInDoubt, action: actionOf(decision, coordinator) };
}

/** What was decided on a branch: an attempt of a call that another one took over is in no record. */
export function decisionOf(
  record: StoredCommitRecord | undefined,
  branchId: string,
): 'commit' | 'none' {
  if (record === undefined) return 'none';
  const isRemote = parseBranchId(branchId)?.remote !== undefined;
  const isNamed = record.branches.some((each) => each.branchId === branchId);
  return isRemote && !isNamed ? 'none' : 'commit';
}

function actionOf(
  decision: BranchDiagnosis['decision'],
  coordinator: BranchDiagnosis['coordinator'],
): string {
  if (coordinator === 'live') return 'wait: its coordinator lives';
  if (decision === 'commit') return 'commit';
  return decision === 'none' ? 'abort' : 'wait: give the log, or bring it back';
}

/** The record of a transaction; 'unknown' where the log does not answer. */
export async function recordOf(
  { session, errors }: Findings,
  transactionId: TransactionId,
): Promise<StoredCommitRecord | undefined | 'unknown'> {
  if (session === undefined) return 'unknown';
  try {
    return await withTimeout('the log', (signal) => session.find(transactionId, { signal }));
  } catch (error) {
    errors.push(`the record of ${transactionId} could not be read: ${textOf(error)}`);
    return 'unknown';
  }
}

/** What the resource says of a branch. */
export async function evidenceOf(
  { errors }: Pick<Findings, 'errors'>,
  participant: Participant,
  branchId: string,
  record: StoredCommitRecord | undefined | 'unknown',
): Promise<BranchOutcome> {
  const branches = typeof record === 'object' ? record.branches : [];
  const evidence = branches.find((each) => each.branchId === branchId)?.evidence ?? '';
  try {
    return await withTimeout(participant.name, (signal) =>
      participant.outcome({ branchId, evidence }, { signal }),
    );
  } catch (error) {
    errors.push(`evidence of ${branchId} could not be read: ${textOf(error)}`);
    return 'unknown';
  }
}

/** Commits that nobody acknowledged, of coordinators that are not there. */
async function unacknowledged(
  findings: Findings,
  known: readonly BranchDiagnosis[],
): Promise<readonly BranchDiagnosis[]> {
  const { session, states, participants } = findings;
  const listed = new Set(known.map(({ branchId }) => branchId));
  const found: BranchDiagnosis[] = [];
  for (const [incarnation, coordinator] of states) {
    if (coordinator === 'live' || session === undefined) continue;
    const records = await withTimeout('the log', (signal) =>
      session.unacknowledged(incarnation, RECORDS_MAX, { signal }),
    );
    for (const record of records) {
      for (const { participant: name, branchId } of record.branches) {
        if (listed.has(branchId) || !record.unacknowledged.includes(name)) continue;
        const participant = participants.find((each) => each.name === name);
        const evidence =
          participant === undefined
            ? 'unknown'
            : await evidenceOf(findings, participant, branchId, record);
        const { transactionId } = record;
        const decision = 'commit' as const;
        const about = { transactionId, branchId, participant: name, coordinator, decision };
        const verdict = unacknowledgedVerdict(name, evidence, participant);
        found.push({ ...about, evidence, ...verdict });
      }
    }
  }
  return found;
}

function unacknowledgedVerdict(
  name: string,
  evidence: BranchOutcome,
  participant: Participant | undefined,
): Pick<BranchDiagnosis, 'isInDoubt' | 'action'> {
  if (participant === undefined) {
    const hint = isRemoteName(name) ? `: ${name}=…` : '';
    return { isInDoubt: true, action: `name this participant, too${hint}` };
  }
  if (evidence === 'committed') return { isInDoubt: false, action: 'none: it has committed' };
  if (evidence === 'aborted') {
    return { isInDoubt: true, action: 'repair by hand: it was aborted against the decision' };
  }
  return { isInDoubt: true, action: 'commit' };
}

/** A sentence for an error. */
export function textOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(textOf).join('; ');
  }
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}
