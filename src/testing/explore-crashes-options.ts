import type {
  Transaction,
  TransactionCoordinator,
  TransactionCoordinatorOptions,
} from '../transaction/coordinator.js';
import type { DecisionLog } from '../transaction/decision-log.js';
import type { Participant } from '../transaction/participant.js';
import type { OpenedDecisionLog } from './decision-log-stage.js';
import type { OpenedParticipant } from './participant-stage.js';

/** What one explored process has of its own, and how it ends. */
export interface ProcessEnds {
  /**
   * Ends it as the death of its process would: cuts its connections and tells nobody. Called at
   * once when the process is killed; `close` follows at the end. Leave it out where a process holds
   * no connection of its own.
   */
  crash?(): void | Promise<void>;
  /**
   * What a process that lives has not given back, one line each: a client that is not in its pool
   * again. Looked at when its transactions are over, again and again for a while; default nothing.
   */
  residue?(): readonly string[] | Promise<readonly string[]>;
}

/** A participant of one explored process. */
export type CrashableParticipant<Handle = unknown> = OpenedParticipant<Handle> & ProcessEnds;

/** A decision log of one explored process. */
export type CrashableLog = OpenedDecisionLog & ProcessEnds;

/**
 * A participant for all processes, or a function that opens one as one more process would. Take the
 * function wherever a branch holds a connection, and give it `crash`.
 */
export type ExploredParticipant<Handle = unknown> =
  | Participant<Handle>
  | (() => CrashableParticipant<Handle> | Promise<CrashableParticipant<Handle>>);

/** A decision log for all processes, or a function that opens one as one more process would. */
export type ExploredLog = DecisionLog | (() => CrashableLog | Promise<CrashableLog>);

/** What one play of the transaction is about. */
export interface CrashSubject {
  /** Unique to this play, 1 to 32 of `[A-Za-z0-9_-]`: the body writes under it, `check` looks for it. */
  readonly key: string;
  /**
   * The same for the plays that follow each other at one point: change something under it too, and
   * what one play leaves locked stops the next. Other points have other lanes.
   */
  readonly lane: string;
}

/** One play of the transaction in one process. */
export interface CrashTurn<Handles = Readonly<Record<string, unknown>>> extends CrashSubject {
  /** The participants of the process in which the body runs, by the names of the options. */
  readonly participants: { readonly [Name in keyof Handles]: Participant<Handles[Name]> };
}

/** What a check saw: of everything, or of each participant by its name in the options. */
export type CrashSighting = boolean | Readonly<Record<string, boolean>> | undefined;

/** The part of a coordinator that is explored. */
export type ExploredCoordinator = Pick<TransactionCoordinator, 'run' | 'recover' | 'close'>;

/** Options of `exploreCrashes`. */
export interface CrashExplorationOptions<Handles = Readonly<Record<string, unknown>>> {
  /** Where decisions live. */
  readonly log: ExploredLog;
  /** The participants, 1 to 8, by names of your choice; an array is named by `Participant.name`. */
  readonly participants:
    | { readonly [Name in keyof Handles]: ExploredParticipant<Handles[Name]> }
    | readonly Participant[];
  /**
   * The transaction under test. Each play has a key of its own, and runs on the same resources as
   * the others. Enlist what `turn.participants` holds, or the participant that was passed in the
   * options.
   */
  body(tx: Transaction, turn: CrashTurn<Handles>): Promise<unknown> | unknown;
  /**
   * Tells which of the effects of `turn.key` can be seen, read outside any transaction: for each
   * participant by name, or one answer for all that itself fails on a part. What it throws counts as
   * a violation; an answer of `undefined` says that it found nothing wrong.
   */
  check(turn: CrashSubject): Promise<CrashSighting> | CrashSighting;
  /** Prepares a play outside any transaction, for example stocks an article under its key. */
  arrange?(turn: CrashSubject): Promise<unknown> | unknown;
  /** Told about progress and every violation, a line each. Default nobody. */
  print?(line: string): void;
  /** Explores this point alone, by the name that a violation was printed with. */
  readonly only?: string | undefined;
  /**
   * Explores at most so many points in which a second process is killed too, chosen by `seed`: their
   * number grows with the square of the calls. The points of one death are all explored. Default
   * Infinity.
   */
  readonly pairsMax?: number | undefined;
  /** Chooses them. Default 1. */
  readonly seed?: number | undefined;
  /** So many points are played at the same time, 1 to 32: more needs a body whose plays touch nothing in common. Default 1. */
  readonly concurrency?: number | undefined;
  /** A play that has not ended after so many milliseconds violates termination. Default 30,000. */
  readonly playTimeoutMs?: number | undefined;
  /** Makes the coordinator under test. Default `createTransactionCoordinator`. */
  coordinator?(options: TransactionCoordinatorOptions): ExploredCoordinator;
}

/** A rule that a play broke. */
export interface CrashViolation {
  /** Where the fault was: give it to `only` to play it again. */
  readonly point: string;
  /** The rule and what was seen. */
  readonly what: string;
  /** Every call in its order, with what became of the owner's answer. */
  readonly trace: readonly string[];
}

/** What an exploration found. */
export interface CrashExploration {
  /** How many points were played. */
  readonly pointCount: number;
  /** Their names, in order. */
  readonly points: readonly string[];
  /** How many of them ended with everything committed, and with nothing. */
  readonly endings: {
    /** Points after which the transaction was committed. */
    readonly committed: number;
    /** Points after which it was aborted. */
    readonly aborted: number;
  };
  /** Empty when every rule held in every point. */
  readonly violations: readonly CrashViolation[];
}
