import type { TransactionId } from '../core/ids.js';

/** What one pass of recovery found and did. Lists are cut off at 1,000 entries, counts are not. */
export interface RecoveryReport {
  /** Branches that were found prepared, of a coordinator that is not there or has given them up. */
  readonly inDoubt: number;
  /** Of these, how many were committed. */
  readonly committed: number;
  /** Of these, how many were rolled back. */
  readonly aborted: number;
  /**
   * For how long the oldest of them had been prepared, in milliseconds, where the resources know.
   */
  readonly inDoubtMsMax: number;
  /** Commits sent again because they had not been acknowledged; most had already happened. */
  readonly recommitted: number;
  /** Which branches were finished, and how. */
  readonly branches: readonly RecoveredBranch[];
  /** What could not be done now; the sweep tries again. */
  readonly failed: readonly RecoveryFailure[];
  /** Branches of other namespaces or logs, which are never touched. */
  readonly unknownNamespace: readonly UnknownBranch[];
  /** Participants in commit records that are not registered with this coordinator. */
  readonly unknownParticipants: readonly string[];
  /** Incarnations that were fenced. */
  readonly fenced: readonly string[];
  /** How long the pass took, in milliseconds. */
  readonly durationMs: number;
}

/** A branch that recovery finished. */
export interface RecoveredBranch {
  /** Of which transaction it was. */
  readonly transactionId: TransactionId;
  /** The branch. */
  readonly branchId: string;
  /** Where it was. */
  readonly participant: string;
  /** What became of it. */
  readonly outcome: 'committed' | 'aborted';
  /** How long it had been prepared, in milliseconds, where the resource knows. */
  readonly inDoubtMs?: number | undefined;
}

/** Something that recovery could not do. */
export interface RecoveryFailure {
  /** Where it failed. */
  readonly participant: string;
  /** The branch; undefined when the participant could not be listed. */
  readonly branchId?: string | undefined;
  /** What it failed with. */
  readonly error: unknown;
}

/** A prepared branch that belongs to somebody else. */
export interface UnknownBranch {
  /** Where it was found. */
  readonly participant: string;
  /** The branch. */
  readonly branchId: string;
  /** Whose it is. */
  readonly namespace: string;
  /** The name of the log where its decision lives. */
  readonly authority: string;
}

/** A branch that waits. */
export interface InDoubtBranch {
  /** Of which transaction it is. */
  readonly transactionId: TransactionId;
  /** The branch. */
  readonly branchId: string;
  /** Where it waits. */
  readonly participant: string;
  /** The life of the coordinator that began it. */
  readonly incarnation: string;
  /** How long it has been prepared, in milliseconds, where the resource knows. */
  readonly ageMs?: number | undefined;
  /**
   * 'commit': its record is there. 'none': there is no record; recovery fences the incarnation and
   * then aborts. 'unknown': this coordinator waits for the reply of the log, or, with three-phase
   * commit, its site for the others.
   */
  readonly decision: 'commit' | 'none' | 'unknown';
}
