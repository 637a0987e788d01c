import type { Guarantees } from '../core/guarantees.js';
import type { BarrierEffect, BarrierEvent, BarrierState } from './barrier-machine.js';
import type { ParticipantCallOptions, PreparedBranch } from './participant.js';

/**
 * Where a function participant notes what became of its branches, in the same local transaction as
 * the effects of its functions: that is what makes each of them happen once, however often and in
 * whatever order it is asked for. `postgresBarrier`, `mysqlBarrier`, `redisBarrier` and
 * `memoryBarrier` make one.
 *
 * @typeParam Client - what the functions work with inside that local transaction.
 */
export interface Barrier<Client> {
  /** Which backend, for messages and metrics. */
  readonly backend: string;
  /**
   * One local transaction: finds the branch's state, moves it as `barrierMove` says, performs the
   * effects of the move, and commits. Steps of one branch wait for each other.
   *
   * Rejects with the effect's own error, untouched, when an effect failed: then nothing happened.
   * Rejects with BACKEND_UNAVAILABLE when nothing was done, and with RESULT_UNKNOWN when nobody knows
   * whether the local transaction was committed.
   */
  pass(step: BarrierStep<Client>): Promise<BarrierPassage>;
  /** The branches of a participant that are prepared now. Bounded; only reads. */
  prepared(
    participant: string,
    options?: ParticipantCallOptions,
  ): Promise<readonly PreparedBranch[]>;
  /** The state of a branch; undefined where nothing is known of it. */
  state(
    participant: string,
    branchId: string,
    options?: ParticipantCallOptions,
  ): Promise<BarrierState | undefined>;
  /** Reads the store's live configuration. */
  guarantees(participant: string, options?: ParticipantCallOptions): Promise<Guarantees>;
  /** Ends what the barrier itself opened. What was passed in stays open. */
  close(): Promise<void>;
}

/** One step at a barrier. */
export interface BarrierStep<Client> {
  /** Whose branch it is. */
  readonly participant: string;
  /** Which branch. */
  readonly branchId: string;
  /** What is to happen. */
  readonly event: BarrierEvent;
  /** What a first step stores for the later ones, which may come from another node. A text. */
  readonly payload: string;
  /** How long the local transaction may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Aborted when nobody waits for the step any longer. */
  readonly signal: AbortSignal;
  /** Performs an effect, with what the first step stored. May be called again after it failed. */
  readonly perform: (effect: BarrierEffect, client: Client, payload: string) => Promise<void>;
}

/** How a step ended: what the machine answered. */
export interface BarrierPassage {
  /** Done, now or before; refused, because the branch ended the other way; or nothing known of it. */
  readonly answer: 'done' | 'refused' | 'unknown';
  /** The state of the branch after the step. */
  readonly state: BarrierState | undefined;
}
