import type { Clock } from '../core/clock.js';
import type { Guarantees } from '../core/guarantees.js';
import type { TransactionId } from '../core/ids.js';
import type { Random } from '../core/random.js';
import type { BranchRecord } from './participant.js';
import type { CallNode, CallSession } from './remote/call-session.js';

/**
 * Where commit decisions live: presumed abort with incarnation fencing.
 *
 * A coordinator's process registers its incarnation once; a decision is one atomic step "the
 * incarnation is not fenced, record commit". A recoverer fences an incarnation before it concludes
 * anything from the absence of a record. Commit records never expire and are never evicted before
 * every branch has acknowledged; aborts write nothing.
 *
 * A log passes `decisionLogContract` of `tricord/testing` against a real backend.
 */
export interface DecisionLog {
  /** Which backend, for messages and metrics. */
  readonly backend: string;
  /** Names this log inside transaction ids: 1 to 8 of `[A-Za-z0-9_-]`. Stable for ever. */
  readonly authority: string;
  /** Serves one coordinator of this process. Sends nothing yet. */
  open(node: DecisionLogNode): DecisionLogSession;
  /**
   * Carries calls to remote participants for one process. Sends nothing yet. Absent where the backend
   * cannot: then `tx.call` and `serveParticipant` refuse with BACKEND_UNSUPPORTED.
   */
  openCalls?(node: CallNode): CallSession;
}

/** Which coordinator a log serves. */
export interface DecisionLogNode {
  /** Names the process, for people who look into the log. */
  readonly nodeId: string;
  /** Whose incarnations and records these are. */
  readonly namespace: string;
  /** The source of time. */
  readonly clock: Clock;
  /** The source of chance. */
  readonly random: Random;
}

/** Options of every call to a log. */
export interface LogCallOptions {
  /** Gives up the call; what was sent may still take effect. */
  readonly signal?: AbortSignal | undefined;
}

/** A branch of a commit record, with the participant that holds it. */
export interface DecidedBranch extends BranchRecord {
  /** The name of the participant that holds it. */
  readonly participant: string;
}

/** The durable record of a decision to commit. */
export interface CommitRecord {
  /** Tells the namespace, the log and the incarnation. */
  readonly transactionId: TransactionId;
  /** The pair, whole. */
  readonly resourceId: string;
  /** The node that decided. */
  readonly nodeId: string;
  /** Every branch that voted yes. */
  readonly branches: readonly DecidedBranch[];
  /** The transaction's key, which is confirmed before the last acknowledgement. */
  readonly key?: string | undefined;
}

/** Who holds the key of a transaction. */
export interface KeyReservation {
  /** The transaction that reserved it. */
  readonly transactionId: TransactionId;
  /** Whether that one is known to be committed; then it holds the key for 24 hours. */
  readonly isCommitted: boolean;
}

/** What {@link DecisionLogSession.reserveKey} is asked for. */
export interface KeyRequest {
  /** The key, 1 to 1,024 UTF-8 bytes. */
  readonly key: string;
  /** For which transaction. */
  readonly transactionId: TransactionId;
  /**
   * The holder that it is taken from, which certainly has not decided and never will: its
   * incarnation was fenced, and there is no record.
   */
  readonly replaces?: TransactionId | undefined;
}

/** A commit record as the log keeps it. */
export interface StoredCommitRecord extends CommitRecord {
  /**
   * Names of participants that have not acknowledged yet. Empty: kept only for `recordRetainMs`.
   */
  readonly unacknowledged: readonly string[];
  /** Since the decision, by the log's clock, in milliseconds. */
  readonly ageMs: number;
}

/** One life of one coordinator, as the log knows it. */
export interface IncarnationStatus {
  /** The name under which it was registered. */
  readonly incarnation: string;
  /** The node that registered it. */
  readonly nodeId: string;
  /**
   * 'live': heard from lately. 'silent': not heard from within its liveness time-out. 'fenced': can
   * decide no more.
   */
  readonly state: 'live' | 'silent' | 'fenced';
  /** How many commit records it still has with unacknowledged branches. */
  readonly unacknowledgedCount: number;
}

/** Acknowledgement of one branch of one record. */
export interface Acknowledgement {
  /** Whose record it is about. */
  readonly transactionId: TransactionId;
  /** The participant that has committed. */
  readonly participant: string;
}

/** What one statement of {@link RunWithin} answered. */
export interface StatementRows {
  /** By the names of the columns. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

/** Sends a text of one or several statements on the connection of a branch; answers their rows. */
export type RunWithin = (text: string) => Promise<readonly StatementRows[]>;

/**
 * What became of a decision inside a branch's own transaction. 'recorded': it is decided when, and
 * only when, that transaction commits. With the others it must be rolled back; 'elsewhere' says that
 * the branch's database does not hold this log.
 */
export type WithinAnswer = 'recorded' | 'fenced' | 'full' | 'elsewhere';

/** A log in the service of one coordinator. Every operation may be sent twice. */
export interface DecisionLogSession {
  /**
   * Registers a fresh incarnation, and keeps it live (heartbeat, ephemeral node) until a fence or
   * `close`; the index by which `incarnations` finds it is written first. Rejects with
   * INCARNATION_FENCED for one that was fenced before, with BACKEND_UNAVAILABLE or UPGRADE_NEEDED.
   */
  register(incarnation: string, options?: LogCallOptions): Promise<void>;
  /**
   * The decision: one atomic store step. A record that is there already answers 'committed', also
   * when the incarnation has been fenced since, so that the step can be sent again. 'fenced' means
   * that there is no record and that there will be none.
   *
   * Rejects with LOG_FULL or BACKEND_UNAVAILABLE only when it is certain that nothing was recorded
   * nor will be: the coordinator aborts. Rejects with RESULT_UNKNOWN, or anything else, after the
   * log tried to find out until the signal: the record may exist or appear, and the coordinator
   * asks again. Decisions that are made in one tick travel together.
   */
  decide(
    incarnation: string,
    record: CommitRecord,
    options?: LogCallOptions,
  ): Promise<'committed' | 'fenced'>;
  /**
   * Only of a log that lives in a resource: records a decision inside the local transaction of a
   * branch, the *last resource*, whose commit then is the decision. A fence and `settle` wait for
   * that transaction.
   */
  decideWithin?(incarnation: string, record: CommitRecord, run: RunWithin): Promise<WithinAnswer>;
  /**
   * After `decideWithin`, when the reply to that commit was lost: makes sure that the transaction
   * either has been decided or never will be, and answers which. Rejects while it cannot tell,
   * because that transaction is still open.
   */
  settle?(
    incarnation: string,
    record: CommitRecord,
    options?: LogCallOptions,
  ): Promise<'committed' | 'aborted'>;
  /** Who holds a key of this namespace, linearizably; undefined when nobody does. */
  findKey(key: string, options?: LogCallOptions): Promise<KeyReservation | undefined>;
  /**
   * Reserves a key unless somebody holds it, in one atomic step, and answers who holds it then. It
   * comes before `decide`, whose record carries the key.
   */
  reserveKey(request: KeyRequest, options?: LogCallOptions): Promise<KeyReservation>;
  /**
   * Notes that the transaction that holds a key is committed, after its record and before its last
   * acknowledgement: from here on the key stays for 24 hours. Changes nothing of another holder.
   */
  confirmKey(key: string, transactionId: TransactionId, options?: LogCallOptions): Promise<void>;
  /** Gives up a reservation of a transaction that did not and will not commit. */
  releaseKey(key: string, transactionId: TransactionId, options?: LogCallOptions): Promise<void>;
  /**
   * Notes that branches have committed; a record with all of them goes after `recordRetainMs`.
   * Batched and lazy: resolves when it is queued or written; losing it costs a repeated commit.
   */
  acknowledge(
    acknowledgements: readonly Acknowledgement[],
    options?: LogCallOptions,
  ): Promise<void>;
  /**
   * Makes sure that an incarnation decides no more. Also for one that was never registered here, so
   * that a late register of it is refused. Idempotent.
   */
  fence(incarnation: string, options?: LogCallOptions): Promise<void>;
  /**
   * The record of a transaction, linearizably: a record that was acknowledged before the call
   * began is found. Absence means abort only after `fence` of its incarnation.
   */
  find(
    transactionId: TransactionId,
    options?: LogCallOptions,
  ): Promise<StoredCommitRecord | undefined>;
  /** Every incarnation of this namespace that is live or has records. */
  incarnations(options?: LogCallOptions): Promise<readonly IncarnationStatus[]>;
  /** The records of an incarnation with unacknowledged branches, oldest first, at most `limit`. */
  unacknowledged(
    incarnation: string,
    limit: number,
    options?: LogCallOptions,
  ): Promise<readonly StoredCommitRecord[]>;
  /**
   * Forgets acknowledged records past their retention and fenced incarnations without records.
   * Bounded work a call.
   */
  prune(options?: LogCallOptions): Promise<void>;
  /**
   * Aborted when the log learns that its own registered incarnation was fenced, with an
   * INCARNATION_FENCED error as the reason; no later than a `decide` answers 'fenced'.
   */
  fencedSignal(incarnation: string): AbortSignal;
  /** Reads the backend's live configuration. */
  guarantees(options?: LogCallOptions): Promise<Guarantees>;
  /** Ends heartbeats and what the log opened; its incarnation becomes silent. Never rejects. */
  close(): Promise<void>;
}
