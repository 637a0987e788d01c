import { setMaxListeners } from 'node:events';
import { type AbortSource, abortScope, type onAbort, type Scope } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { CoordinationError } from '../core/errors.js';
import type { FewMap } from '../core/few-map.js';
import type { TransactionId } from '../core/ids.js';
import type { Random } from '../core/random.js';
import type { DecidedBranch, DecisionLogSession } from './decision-log.js';
import type { TransactionChannels } from './diagnostics.js';
import type { Lives } from './lives.js';
import type { Branch, Participant, PreparedBranch } from './participant.js';
import type { Readiness } from './readiness.js';
import type { CallerDesk } from './remote/caller-desk.js';
import type { TransactionRecorder } from './statistics.js';
import type { SiteDeskRecord, TransactionSite } from './three-phase/transaction-site.js';
import type { AbortCause } from './two-phase.js';

/** What the parts of one coordinator share. */
export interface CoordinatorHost {
  readonly nodeId: string;
  readonly namespace: string;
  /** The log's name in transaction ids. */
  readonly authority: string;
  readonly backend: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly session: DecisionLogSession;
  readonly participants: ReadonlyMap<string, Participant>;
  /** The calls to remote participants that this process makes. Opened by the first one. */
  readonly calls: CallerDesk;
  /** Tells the trace that a call is made in. */
  readonly traceparent: (() => string | undefined) | undefined;
  /** The voting site of this process, if it has one. */
  readonly site: TransactionSite | undefined;
  /** What that site has voted for, or was decided, and is not carried out. */
  sitesRecords?(): readonly SiteDeskRecord[];
  /** Whose branches commit with the decision inside. */
  readonly lastResource: Participant | undefined;
  readonly lives: Lives;
  readonly readiness: Readiness;
  readonly recorder: TransactionRecorder;
  readonly channels: TransactionChannels;
  /** Transactions that this process has not brought to their end; the sweep leaves them alone. */
  readonly active: FewMap<TransactionId, ActiveTransaction>;
  /** Keys of transactions that this process has under way. */
  readonly keys: Set<string>;
  /** Listens to callers' signals, of which one may serve many transactions. */
  readonly onAbort: typeof onAbort;
  /** Aborted when `close` stops waiting: what is undecided aborts. */
  readonly closing: AbortSignal;
  /** Aborted when background work must end, too; what is in doubt is left to others. */
  readonly stopped: AbortSignal;
  /**
   * The same for what every transaction does. A signal of Node's keeps its listeners in a list in which
   * one that was removed long ago still leads to all that came after it, until a major collection.
   */
  readonly stopping: AbortSource;
}

/** What recovery needs: of a coordinator, or of a node that serves remote participants. */
export interface RecoveryHost
  extends Pick<
    CoordinatorHost,
    | 'nodeId'
    | 'namespace'
    | 'authority'
    | 'backend'
    | 'clock'
    | 'random'
    | 'session'
    | 'participants'
    | 'recorder'
    | 'channels'
    | 'active'
    | 'sitesRecords'
    | 'stopped'
  > {
  readonly stopping?: AbortSource;
  readonly lives: Pick<Lives, 'incarnation'>;
  readonly calls?: CallerDesk | undefined;
  /**
   * Of a node that serves: whether a prepared branch of a live coordinator is to be finished all the
   * same, because its call is over ('own': that coordinator has decided, or never will) or lost
   * ('dead': the coordinator is fenced first). Undefined: it waits.
   */
  servedOwner?(branch: PreparedBranch, signal: AbortSignal): Promise<'own' | 'dead' | undefined>;
}

/** A transaction that is not over in this process. */
export interface ActiveTransaction {
  readonly incarnation: string;
  /** Whether the caller was told that the outcome is not known. */
  isInDoubt(): boolean;
  /** Ends it from outside, if it still can be. */
  giveUp?(cause: AbortCause): void;
  /** Resolves when nothing of it is under way any more. */
  readonly ended: Promise<void>;
  readonly branches: readonly EnlistedBranch[];
}

/** A branch with where it is. */
export interface EnlistedBranch {
  readonly participant: Participant;
  readonly branch: Branch;
  readonly branchId: string;
  /**
   * Of a remote call: the branches that its server prepared, which stand in the record instead.
   */
  readonly decided?: (() => readonly DecidedBranch[]) | undefined;
  /** Of a remote call of a three-phase transaction: the site that votes for it, once it has answered. */
  readonly site?: (() => string | undefined) | undefined;
}

/** One call to a backend is given up after this, in milliseconds, if nothing else bounds it. */
export const CALL_TIMEOUT_MS = 10_000;

/** What ends a call from outside. */
export interface CallBounds {
  readonly signals: readonly (AbortSource | undefined)[];
  readonly timeoutMs?: number | undefined;
  /** Default a `TimeoutError`. */
  readonly timeoutReason?: (() => unknown) | undefined;
}

/** Makes one call with a bound, which also ends with any of the signals. */
export function boundedCall<T>(
  clock: Clock,
  bounds: CallBounds,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return scopedCall(clock, bounds, (scope) => call(scope.signal));
}

/** The same for what every transaction does: a signal is made only if the call asks for one. */
export function scopedCall<T>(
  clock: Clock,
  options: CallBounds,
  call: (scope: Scope) => Promise<T>,
): Promise<T> {
  const { signals: parents, timeoutMs = CALL_TIMEOUT_MS, timeoutReason } = options;
  return new Promise<T>((resolve, reject) => {
    const scope = abortScope({ clock, parents, timeoutMs, timeoutReason, onAbort: reject });
    if (scope.aborted) return;
    let answering: Promise<T>;
    try {
      answering = call(scope);
    } catch (error) {
      scope[Symbol.dispose]();
      throw error;
    }
    answering.then(
      (value) => {
        scope[Symbol.dispose]();
        resolve(value);
      },
      (error) => {
        scope[Symbol.dispose]();
        reject(error);
      },
    );
  });
}

/** A controller whose signal many transactions listen to at the same time. */
export function sharedController(): AbortController {
  const controller = new AbortController();
  // Each listener goes with its transaction: their number is load, not a leak worth a warning.
  setMaxListeners(0, controller.signal);
  return controller;
}

/**
 * The error for a backend that was silent for too long. Not for a deciding step, of which it would
 * claim too much.
 */
export function silenceError(
  backend: string,
  operation: string,
  waitedMs: number = CALL_TIMEOUT_MS,
  cause?: unknown,
): CoordinationError<'BACKEND_UNAVAILABLE'> {
  return new CoordinationError(
    'BACKEND_UNAVAILABLE',
    `${backend} did not answer ${operation} within ${waitedMs} ms`,
    { backend, operation },
    { cause },
  );
}

/** A sentence for an error of whatever kind. */
export function reasonOf(error: unknown): string {
  return error instanceof Error && error.message !== '' ? error.message : String(error);
}
