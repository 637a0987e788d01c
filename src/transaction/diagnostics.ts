import {
  type EventChannel,
  eventChannel,
  type OperationChannel,
  operationChannel,
} from '../core/diagnostics.js';
import type { TransactionId } from '../core/ids.js';
import type { Outcome } from './outcome.js';
import type { RecoveryReport } from './recovery-report.js';
import type { OutcomeState } from './statistics.js';
import type { AbortedBy } from './two-phase.js';

/** Published on the tracing channel `tricord:transaction.run` for `run` and `commit`. */
export interface TransactionRunContext {
  /** The resource id. */
  readonly resource: string;
  /** The coordinator's node. */
  readonly nodeId: string;
  /** `memory`, `redis`, `zookeeper` or a log of your own. */
  readonly backend: string;
  /** How it ended (tracing channels add it). */
  readonly result?: Outcome<unknown> | undefined;
  /** Why it could not begin (tracing channels add it). */
  readonly error?: unknown;
}

/**
 * Published on the tracing channel `tricord:transaction.call` for `Transaction.call`, from the first
 * message to the vote. `callId` is the same at the node that serves it.
 */
export interface TransactionCallContext {
  /** Which transaction. */
  readonly transactionId: TransactionId;
  /** Which of its calls. */
  readonly callId: string;
  /** The name that is called. */
  readonly service: string;
  /** The caller's node. */
  readonly nodeId: string;
  /** What the service answered (tracing channels add it). */
  readonly result?: unknown;
  /** Why there is no answer, or which one (tracing channels add it). */
  readonly error?: unknown;
}

/**
 * Published on the tracing channel `tricord:transaction.serve` around a handler's work for one call;
 * the handler runs inside, so that its own spans are children of this one.
 */
export interface TransactionServeContext {
  /** The caller's transaction. */
  readonly transactionId: TransactionId;
  /** Which of its calls. */
  readonly callId: string;
  /** The name that is served. */
  readonly service: string;
  /** The node that serves it. */
  readonly nodeId: string;
  /** How often the call was handed out: more than 1 after a node died with it. */
  readonly attempt: number;
  /** The trace that the caller is in, where it passes one. */
  readonly traceparent?: string | undefined;
  /** Why the call is refused (tracing channels add it). */
  readonly error?: unknown;
}

/** Published on `tricord:transaction.ended`: a transaction was answered. */
export interface TransactionEndedEvent {
  /** Which transaction. */
  readonly transactionId: TransactionId;
  /** The resource id. */
  readonly resource: string;
  /** What was answered. */
  readonly state: OutcomeState;
  /** Who aborted it. */
  readonly by?: AbortedBy | undefined;
  /** From `run` to its answer, in milliseconds. */
  readonly durationMs: number;
}

/**
 * Published on `tricord:transaction.resolved`: one that was answered 'in-doubt' was found out here.
 */
export interface TransactionResolvedEvent {
  /** Which transaction. */
  readonly transactionId: TransactionId;
  /** What had become of it. */
  readonly outcome: 'committed' | 'aborted';
}

/** Published on `tricord:transaction.fenced`: a recoverer took this coordinator for dead. */
export interface TransactionFencedEvent {
  /** The coordinator's node. */
  readonly nodeId: string;
  /** The life that ended; the next transaction takes a fresh one. */
  readonly incarnation: string;
  /** What the log said. */
  readonly reason: unknown;
}

/** Published on `tricord:transaction.contradicted`: a branch was ended against its decision. */
export interface TransactionContradictedEvent {
  /** Which transaction. */
  readonly transactionId: TransactionId;
  /** Which of its branches. */
  readonly branchId: string;
  /** Where that branch is. */
  readonly participant: string;
  /** What the participant found. */
  readonly error: unknown;
}

/**
 * Published on `tricord:transaction.failed`: something in the background failed, and is tried
 * again.
 */
export interface TransactionFailedEvent {
  /** What was tried: `commit`, `abort`, `decide`, `acknowledge`, `sweep`, `after-commit`, … */
  readonly operation: string;
  /** Which transaction, where it was about one. */
  readonly transactionId?: TransactionId | undefined;
  /** Which participant, where it was about one. */
  readonly participant?: string | undefined;
  /** What it failed with. */
  readonly error: unknown;
}

/** The channels of coordinators. Channels of one name are one channel in the whole process. */
export interface TransactionChannels {
  readonly run: OperationChannel<TransactionRunContext>;
  readonly call: OperationChannel<TransactionCallContext>;
  readonly serve: OperationChannel<TransactionServeContext>;
  readonly ended: EventChannel<TransactionEndedEvent>;
  readonly resolved: EventChannel<TransactionResolvedEvent>;
  readonly fenced: EventChannel<TransactionFencedEvent>;
  readonly contradicted: EventChannel<TransactionContradictedEvent>;
  readonly failed: EventChannel<TransactionFailedEvent>;
  /** `tricord:transaction.recovered`: a pass of recovery that found something. */
  readonly recovered: EventChannel<RecoveryReport>;
}

/** Looks up the channels by their names. */
export function transactionChannels(): TransactionChannels {
  return {
    run: operationChannel('tricord:transaction.run'),
    call: operationChannel('tricord:transaction.call'),
    serve: operationChannel('tricord:transaction.serve'),
    ended: eventChannel('tricord:transaction.ended'),
    resolved: eventChannel('tricord:transaction.resolved'),
    fenced: eventChannel('tricord:transaction.fenced'),
    contradicted: eventChannel('tricord:transaction.contradicted'),
    failed: eventChannel('tricord:transaction.failed'),
    recovered: eventChannel('tricord:transaction.recovered'),
  };
}
