import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import { newIncarnation, newTransactionIds } from '../core/ids.js';
import { systemRandom } from '../core/random.js';
import type {
  CommitRecord,
  DecisionLog,
  DecisionLogSession,
  IncarnationStatus,
} from '../transaction/decision-log.js';

/** One process's log, as the subject of a contract opens it. */
export interface OpenedDecisionLog {
  /** What the cases open sessions of. */
  readonly log: DecisionLog;
  /**
   * From now on what this process sends arrives at the store, and no reply comes back. Answers how
   * that ends: connections are cut, so that those replies are lost for good, and new ones work.
   */
  loseReplies?(): (() => Promise<void>) | Promise<() => Promise<void>>;
  /** Lets go of what was opened for it; called after `DecisionLogSession.close`. */
  close?(): Promise<void>;
}

/** What `decisionLogContract` is run on. */
export interface DecisionLogSubject {
  /** Opens the log the way one more process would: with its own client, on the same store. */
  open(): OpenedDecisionLog | Promise<OpenedDecisionLog>;
  /**
   * An incarnation whose session was closed is silent within this, in milliseconds. Default 15,000.
   */
  readonly silentWithinMs?: number | undefined;
  /** Acknowledgements, prunes and fences are seen by others within this, in ms. Default 5,000. */
  readonly lazyWithinMs?: number | undefined;
  /** The limit of unacknowledged records that the log was opened with, if it is 64 or less. */
  readonly unacknowledgedMax?: number | undefined;
  /**
   * Says that the log was opened with `recordRetainMs: 0` and can lose replies: only the cases of
   * what is forgotten at once are played.
   */
  readonly isForgetful?: boolean | undefined;
}

/** A session with what the cases do with it. */
export interface StagedLog {
  readonly session: DecisionLogSession;
  readonly nodeId: string;
  /** Begins to lose replies; answers how to end it. */
  loseReplies(): Promise<() => Promise<void>>;
  /** Registers a fresh incarnation and answers it with records to decide. */
  incarnation(): Promise<StagedIncarnation>;
}

/** An incarnation that can make records of its own. */
export interface StagedIncarnation {
  readonly name: string;
  record(changes?: Partial<CommitRecord>): CommitRecord;
}

/** Where one case plays: a namespace of its own, and everything let go at the end. */
export interface DecisionLogStage {
  readonly lazyWithinMs: number;
  readonly silentWithinMs: number;
  readonly unacknowledgedMax: number | undefined;
  /** One more process, in the case's namespace or in another. */
  node(namespace?: string): Promise<StagedLog>;
}

const POLL_MS = 20;

/** Runs a case on a stage, and lets go of everything afterwards, however it ended. */
export async function onDecisionLogStage(
  subject: DecisionLogSubject,
  play: (stage: DecisionLogStage) => Promise<void>,
): Promise<void> {
  const cleanups: (() => Promise<void>)[] = [];
  const caseNamespace = `k${systemRandom.token(9)}`;
  let nodeCount = 0;
  const node = async (namespace = caseNamespace): Promise<StagedLog> => {
    const opened = await subject.open();
    nodeCount += 1;
    const nodeId = `node ${nodeCount} {ü🎻}`;
    const session = opened.log.open({
      nodeId,
      namespace,
      clock: systemClock,
      random: systemRandom,
    });
    cleanups.push(async () => {
      await session.close();
      await opened.close?.();
    });
    return stagedLog(opened, session, nodeId, namespace);
  };
  try {
    const { silentWithinMs = 15_000, lazyWithinMs = 5_000, unacknowledgedMax } = subject;
    await play({ silentWithinMs, lazyWithinMs, unacknowledgedMax, node });
  } finally {
    for (const cleanup of cleanups) await cleanup();
  }
}

function stagedLog(
  opened: OpenedDecisionLog,
  session: DecisionLogSession,
  nodeId: string,
  namespace: string,
): StagedLog {
  return {
    session,
    nodeId,
    async loseReplies() {
      assert.ok(opened.loseReplies, 'open() of a forgetful subject answers { loseReplies }');
      return opened.loseReplies();
    },
    async incarnation() {
      const name = newIncarnation();
      await session.register(name);
      return stagedIncarnation(opened.log.authority, nodeId, namespace, name);
    },
  };
}

/** Records of an incarnation, registered or not. */
export function stagedIncarnation(
  authority: string,
  nodeId: string,
  namespace: string,
  name: string,
): StagedIncarnation {
  const ids = newTransactionIds({ namespace, authority, incarnation: name });
  const resourceId = 'order:1001 {🦜}\n"quoted"/';
  return {
    name,
    record(changes) {
      const transactionId = ids(resourceId, nodeId);
      const branches = ['orders', 'stock.eu-1'].map((participant, index) => ({
        participant,
        branchId: `${transactionId}.${index + 1}`,
        evidence: `evidence ${index} ß,;|\n`,
      }));
      return { transactionId, resourceId, nodeId, branches, ...changes };
    },
  };
}

/** Waits until a condition holds, and fails the case when it does not in time. */
export async function eventually(
  what: string,
  withinMs: number,
  condition: () => Promise<boolean>,
): Promise<void> {
  const startMs = systemClock.monotonicMs();
  while (!(await condition())) {
    const waitedMs = systemClock.monotonicMs() - startMs;
    assert.ok(waitedMs < withinMs, `${what}: not within ${withinMs} ms`);
    await sleep(systemClock, POLL_MS);
  }
}

/** The status of an incarnation as a session sees it, or undefined where it is not listed. */
export async function statusOf(
  session: DecisionLogSession,
  incarnation: string,
): Promise<IncarnationStatus | undefined> {
  const all = await session.incarnations();
  return all.find((each) => each.incarnation === incarnation);
}

/** The whole record without what the log adds. */
export function recordOf(found: CommitRecord | undefined): CommitRecord | undefined {
  if (found === undefined) return undefined;
  const { transactionId, resourceId, nodeId } = found;
  const branches = found.branches.map(({ participant, branchId, evidence }) => ({
    participant,
    branchId,
    evidence,
  }));
  return { transactionId, resourceId, nodeId, branches };
}

/** Checks that a promise rejects with a coordination error of that code. */
export async function rejectsWith(code: string, promise: Promise<unknown>): Promise<unknown> {
  const [settled] = await Promise.allSettled([promise]);
  assert.equal(settled.status, 'rejected', `expected ${code}, but it resolved`);
  const { reason } = settled as PromiseRejectedResult;
  assert.ok(isCoordinationError(reason), `expected ${code}, got ${String(reason)}`);
  assert.equal(reason.code, code, reason.message);
  return reason;
}
