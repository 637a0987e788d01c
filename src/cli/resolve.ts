import { parseTransactionId, type TransactionId } from '../core/ids.js';
import type { StoredCommitRecord } from '../transaction/decision-log.js';
import type { BranchOutcome, Participant } from '../transaction/participant.js';
import { isRemoteName } from '../transaction/remote/caller-desk.js';
import { type AuditEntry, writeAudit } from './audit.js';
import { withTimeout } from './bounds.js';
import {
  decisionOf,
  evidenceOf,
  type Findings,
  findingsOf,
  recordOf,
  textOf,
  transactionOf,
} from './diagnosis.js';
import type { CommandSources } from './sources.js';

/** What an operator asks for. */
export interface Resolution {
  /** A transaction, or one of its branches. */
  readonly gid: string;
  readonly verdict: 'commit' | 'abort';
  readonly reason: string;
  /** The file of the audit record. */
  readonly auditPath: string;
}

/** How it went: lines to print, and whether it was done. */
export interface Resolved {
  readonly isDone: boolean;
  readonly lines: readonly string[];
}

interface HeldBranch {
  readonly participant: Participant;
  readonly branchId: string;
  readonly outcome: BranchOutcome;
}

interface Case {
  readonly findings: Findings;
  readonly transactionId: TransactionId;
  readonly incarnation: string;
  readonly record: StoredCommitRecord | undefined;
  readonly branches: readonly HeldBranch[];
}

/** Finishes one transaction by hand, if the evidence does not contradict it. */
export async function resolve(sources: CommandSources, wanted: Resolution): Promise<Resolved> {
  const { verdict, reason, auditPath } = wanted;
  const transactionId = transactionOf(wanted.gid);
  const audit = (event: AuditEntry['event'], details: readonly string[]): Promise<void> =>
    writeAudit(auditPath, { event, transactionId, verdict, reason, details });
  const findings = await findingsOf(sources);
  try {
    const found = await caseOf(findings, transactionId);
    const refusal = typeof found === 'string' ? found : refusalOf(found, verdict);
    if (typeof found === 'string' || refusal !== undefined) {
      await audit('refused', [String(refusal)]);
      return { isDone: false, lines: [`refused: ${refusal}`] };
    }
    const held = found.branches.map(({ branchId }) => branchId);
    await audit('resolving', held);
    const late = verdict === 'abort' ? await fenced(found) : undefined;
    if (late !== undefined) {
      await audit('refused', [late]);
      return { isDone: false, lines: [`refused: ${late}`] };
    }
    const { isDone, lines } = await finish(found, verdict);
    await audit(isDone ? 'resolved' : 'failed', lines);
    return { isDone, lines: [...lines, `recorded in ${auditPath}`] };
  } finally {
    await findings.session?.close();
  }
}

/** What is known about a transaction, or why it cannot be resolved here. */
async function caseOf(findings: Findings, gid: string): Promise<Case | string> {
  const origin = parseTransactionId(gid);
  if (origin === undefined) return `"${gid}" is not the id of a transaction or of a branch`;
  const { namespace, authority, errors, participants } = findings;
  if (origin.namespace !== namespace) {
    return `it belongs to namespace "${origin.namespace}", not to "${namespace}"; pass --namespace`;
  }
  if (authority !== origin.authority) {
    return `its decision lives in log "${origin.authority}"; ${authority ?? 'none'} was given`;
  }
  const transactionId = gid as TransactionId;
  const record = await recordOf(findings, transactionId);
  if (record === 'unknown') return `the log does not answer: ${errors.at(-1) ?? ''}`;
  const branches: HeldBranch[] = [];
  for (const participant of participants) {
    try {
      branches.push(...(await branchesIn(findings, participant, transactionId, record)));
    } catch (error) {
      return `participant "${participant.name}" does not answer: ${textOf(error)}`;
    }
  }
  branches.push(...(await committedElsewhere(findings, branches, transactionId)));
  const { incarnation } = origin;
  return { findings, transactionId, incarnation, record, branches };
}

/**
 * Branches that somebody has committed already, of which nothing is prepared any more and that no
 * record names: their numbers are few, so the participants are asked for each.
 */
async function committedElsewhere(
  { participants }: Findings,
  known: readonly HeldBranch[],
  transactionId: TransactionId,
): Promise<readonly HeldBranch[]> {
  const others = participants.filter((each) => !known.some((held) => held.participant === each));
  const numbers = Array.from(participants.keys(), (index) => `${transactionId}.${index + 1}`);
  const asked = others.flatMap((participant) =>
    numbers
      .filter((branchId) => !known.some((held) => held.branchId === branchId))
      .map(async (branchId): Promise<HeldBranch> => {
        const outcome = await withTimeout(participant.name, (signal) =>
          participant.outcome({ branchId, evidence: '' }, { signal }),
        ).catch(() => 'unknown' as const);
        return { participant, branchId, outcome };
      }),
  );
  return (await Promise.all(asked)).filter(({ outcome }) => outcome === 'committed');
}

/** What a participant holds prepared of a transaction, and what its record names. */
async function branchesIn(
  findings: Findings,
  participant: Participant,
  transactionId: TransactionId,
  record: StoredCommitRecord | undefined,
): Promise<readonly HeldBranch[]> {
  const listed = await withTimeout(participant.name, (signal) => participant.recover({ signal }));
  const prepared = listed
    .map(({ branchId }) => branchId)
    .filter((branchId) => transactionOf(branchId) === transactionId);
  const decided = (record?.branches ?? [])
    .filter((each) => each.participant === participant.name)
    .map(({ branchId }) => branchId);
  const ids = Array.from(new Set([...prepared, ...decided]));
  return Promise.all(
    ids.map(async (branchId) => {
      const outcome = await evidenceOf(findings, participant, branchId, record);
      return { participant, branchId, outcome };
    }),
  );
}

function refusalOf(
  { findings, incarnation, record, branches, transactionId }: Case,
  verdict: Resolution['verdict'],
): string | undefined {
  if (branches.length === 0) return `nothing of ${transactionId} is prepared or decided here`;
  if (findings.states.get(incarnation) === 'live') {
    return 'its coordinator lives, and decides itself; stop it first';
  }
  const having = (outcome: BranchOutcome): string =>
    branches
      .filter((each) => each.outcome === outcome)
      .map(({ participant }) => `"${participant.name}"`)
      .join(', ');
  if (verdict === 'abort') {
    if (record !== undefined) return 'the log has the decision to commit it';
    const committed = having('committed');
    return committed === '' ? undefined : `${committed} has committed it`;
  }
  const aborted = having('aborted');
  if (aborted !== '') return `${aborted} has aborted it; repair that by hand`;
  if (record !== undefined || having('committed') !== '') return undefined;
  return 'the log has no decision to commit it, and no branch has committed: only abort is safe';
}

/** Makes sure that nobody decides any more; what was decided meanwhile is the reason not to go on. */
async function fenced({ findings, incarnation, transactionId }: Case): Promise<string | undefined> {
  const { session } = findings;
  await withTimeout('the log', (signal) => session?.fence(incarnation, { signal }));
  const record = await recordOf(findings, transactionId);
  if (record === undefined) return undefined;
  return record === 'unknown'
    ? 'the log does not answer any more'
    : 'the decision to commit it was made in this moment';
}

async function finish(
  { findings, transactionId, record, branches }: Case,
  verdict: Resolution['verdict'],
): Promise<Resolved> {
  const lines: string[] = [];
  let isDone = true;
  for (const { participant, branchId } of branches) {
    const decided = record?.branches.find((each) => each.branchId === branchId);
    const branch = { branchId, evidence: decided?.evidence ?? '' };
    const { name } = participant;
    // An earlier attempt of a call has no part in the commit of a later one.
    const isLeft = record !== undefined && decisionOf(record, branchId) === 'none';
    const verb = isLeft ? 'abort' : verdict;
    try {
      await withTimeout(name, (signal) => participant[verb](branch, { signal }));
      // A service acknowledges its own: its call in the store must go first.
      const isRemote = isRemoteName(decided?.participant ?? name);
      if (verb === 'commit' && record !== undefined && !isRemote) {
        await withTimeout('the log', (signal) =>
          findings.session?.acknowledge([{ transactionId, participant: name }], { signal }),
        );
      }
      lines.push(`${branchId} in "${name}": ${verb === 'commit' ? 'committed' : 'aborted'}`);
    } catch (error) {
      isDone = false;
      lines.push(`${branchId} in "${name}": failed: ${textOf(error)}`);
    }
  }
  return { isDone, lines };
}
