import type { Clock } from '../core/clock.js';
import type { Guarantees } from '../core/guarantees.js';
import type { TransactionId } from '../core/ids.js';
import type { RunWithin, WithinAnswer } from './decision-log.js';

/**
 * A resource that takes part in transactions: a resource manager in X/Open's terms. It is
 * registered with the coordinator, because recovery must list every resource.
 *
 * `commit`, `abort` and `outcome` may be called from any node, at any time, any number of times. A
 * participant passes `participantContract` of `tricord/testing` against a real resource.
 *
 * @typeParam Handle - what the body of a transaction works with: a database client, a small API.
 */
export interface Participant<Handle = unknown> {
  /** Unique and stable for ever: it stands in commit records. 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly name: string;
  /** Which backend, for messages and metrics. */
  readonly backend: string;
  /**
   * True: its branches are committed after every other branch of their transaction was, by whichever
   * process; for what must not be seen before them, such as the invalidation of a cache.
   */
  readonly commitsAfterOthers?: boolean | undefined;
  /** Starts a branch. Rejects with a CoordinationError when the resource cannot take one now. */
  enlist(context: BranchContext): Promise<Branch<Handle>>;
  /**
   * Commits a prepared branch that some process left. Idempotent: a branch that was committed
   * before is a success. Rejects when the evidence says that it was aborted, or on no reply.
   */
  commit(branch: BranchRecord, options?: ParticipantCallOptions): Promise<void>;
  /**
   * Rolls back a prepared branch that some process left. Idempotent; one that never was is a
   * success, and where the resource can note it, a prepare that comes later is refused. Changes
   * nothing of a branch that was committed, whether it resolves or rejects.
   */
  abort(branch: BranchRecord, options?: ParticipantCallOptions): Promise<void>;
  /**
   * Lists the prepared branches of every namespace that this resource holds now. Bounded; reads
   * only.
   */
  recover(options?: ParticipantCallOptions): Promise<readonly PreparedBranch[]>;
  /**
   * What became of a branch, by the resource's own evidence. Never guesses: 'unknown' where it
   * cannot tell.
   */
  outcome(branch: BranchRecord, options?: ParticipantCallOptions): Promise<BranchOutcome>;
  /**
   * Whether an error of the body or of a vote came of a race with others (a serialization failure, a
   * deadlock), so that another try of the transaction may succeed. Serialization failures and
   * deadlocks of PostgreSQL, MariaDB and MySQL are known without it.
   */
  isConflict?(error: Error): boolean;
  /**
   * Reads the resource's live configuration. Rejects with BACKEND_UNSUPPORTED when it cannot
   * prepare.
   */
  guarantees(options?: ParticipantCallOptions): Promise<Guarantees>;
  /** Ends what the participant itself opened. The client or pool that was passed in stays open. */
  close(): Promise<void>;
}

/** Options of every call to a participant. */
export interface ParticipantCallOptions {
  /** Gives up the call; what was sent may still take effect. */
  readonly signal?: AbortSignal | undefined;
}

/** What a participant is told about the branch that it starts. */
export interface BranchContext {
  /** Of which transaction the branch is. */
  readonly transactionId: TransactionId;
  /**
   * `‹transactionId›.‹n›`: at most 64 bytes of `[A-Za-z0-9_.-]`. Unique per participant and
   * transaction.
   */
  readonly branchId: string;
  /** Milliseconds that the transaction may still take, counted from this call. */
  readonly timeoutMs: number;
  /** Aborted when the transaction must not go on: time-out, the caller's signal, close. */
  readonly signal: AbortSignal;
  /** The source of time. */
  readonly clock: Clock;
}

/**
 * A vote. 'yes' promises that commit and abort will both work later, also after a crash.
 * 'read-only' says that the branch wrote nothing and is already over. Evidence is a short text,
 * stored with the decision and given back to `commit` and `outcome`.
 */
export type Vote = YesVote | NoVote | ReadOnlyVote;

/** The branch is prepared: commit and abort will both work. */
export interface YesVote {
  /** Tells the votes apart. */
  readonly vote: 'yes';
  /** Lets the resource tell later what became of the branch. A short text, or empty. */
  readonly evidence: string;
}

/** The branch cannot be prepared, and is rolled back. */
export interface NoVote {
  /** Tells the votes apart. */
  readonly vote: 'no';
  /** Why, in a sentence. */
  readonly reason: string;
  /** The resource's own error, where there was one. */
  readonly cause?: unknown;
}

/** The branch wrote nothing and is over. */
export interface ReadOnlyVote {
  /** Tells the votes apart. */
  readonly vote: 'read-only';
}

/** What a resource's evidence says of a branch. */
export type BranchOutcome = 'prepared' | 'committed' | 'aborted' | 'unknown';

/**
 * A branch in the process that began it. After `prepare` answered, exactly one of `commit` and
 * `abort` follows, unless the process dies; before, `abort` may come at any time.
 */
export interface Branch<Handle = unknown> {
  /** What the body works with. Refuses with BRANCH_ENDED after the transaction. */
  readonly handle: Handle;
  /**
   * Phase one. A lost reply is not a no: it rejects with RESULT_UNKNOWN, and the coordinator calls
   * `abort` of the branch and then `abort` of the participant, which is safe because nothing was
   * decided. After a no, `abort` is called too, and finds nothing to do.
   */
  prepare(options?: ParticipantCallOptions): Promise<Vote>;
  /** Phase two, yes. Rejects when no reply came; then the participant's `commit` goes on. */
  commit(options?: ParticipantCallOptions): Promise<void>;
  /**
   * Phase two, no; or the end of a branch that was not prepared. Never loses a resource: rejects
   * only on no reply.
   */
  abort(options?: ParticipantCallOptions): Promise<void>;
  /**
   * Commits without prepare, for the only branch of a transaction. 'unknown' when no reply came and
   * the evidence could not be read. Absent when the resource cannot.
   */
  commitOnePhase?(options?: ParticipantCallOptions): Promise<OnePhaseOutcome>;
  /**
   * Commits without prepare after all others have voted yes, with the decision inside: `decide` is
   * called on the branch's open transaction, which commits when it answers 'recorded' and rolls back
   * else. Absent when the resource cannot hold a decision log.
   */
  commitLast?(
    decide: (run: RunWithin) => Promise<WithinAnswer>,
    options?: ParticipantCallOptions,
  ): Promise<LastResourceOutcome>;
}

/** How the commit of a last resource ended; with `answer`, the log's word is why it did not. */
export type LastResourceOutcome = OnePhaseCommitted | OnePhaseUnknown | LastResourceAborted;

/** The last resource was rolled back. */
export interface LastResourceAborted extends OnePhaseAborted {
  /** The log's word, if that is why. */
  readonly answer?: Exclude<WithinAnswer, 'recorded'> | undefined;
}

/** How a one-phase commit ended. */
export type OnePhaseOutcome = OnePhaseCommitted | OnePhaseAborted | OnePhaseUnknown;

/** Everything that the branch wrote is there to stay. */
export interface OnePhaseCommitted {
  /** Tells the outcomes apart. */
  readonly state: 'committed';
}

/** Nothing of the branch took effect. */
export interface OnePhaseAborted {
  /** Tells the outcomes apart. */
  readonly state: 'aborted';
  /** Why, in a sentence. */
  readonly reason: string;
  /** The resource's own error, where there was one. */
  readonly cause?: unknown;
}

/** No reply came, and evidence could not be read yet. */
export interface OnePhaseUnknown {
  /** Tells the outcomes apart. */
  readonly state: 'unknown';
  /** What `Participant.outcome` needs to find out. */
  readonly evidence: string;
  /** What came instead of the reply. */
  readonly cause: unknown;
}

/** A branch as it stands in a commit record. */
export interface BranchRecord {
  /** As {@link BranchContext.branchId} gave it, to the byte. */
  readonly branchId: string;
  /** What the vote carried; empty when the process died before it could tell. */
  readonly evidence: string;
}

/** A prepared branch that was found in a resource. */
export interface PreparedBranch {
  /** As {@link BranchContext.branchId} gave it, to the byte. */
  readonly branchId: string;
  /**
   * For how long it has been prepared, by the resource's clock, in milliseconds; undefined where it
   * cannot tell.
   */
  readonly ageMs?: number | undefined;
}
