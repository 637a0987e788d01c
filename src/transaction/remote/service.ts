import type { Guarantees } from '../../core/guarantees.js';
import type { TransactionId } from '../../core/ids.js';
import type { Participant } from '../participant.js';
import type { ServeStats } from './serve-statistics.js';

/** What a handler works with, beside the payload. */
export interface ServiceContext<Client = undefined> {
  /** The caller's transaction. */
  readonly transactionId: TransactionId;
  /** How often this call was handed out: more than 1 after a node died with it. */
  readonly attempt: number;
  /** The trace that the caller is in (W3C Trace Context), where it passes one. */
  readonly traceparent?: string | undefined;
  /** What is left of the call's time, in milliseconds, as of now. */
  readonly remainingMs: () => number;
  /**
   * Aborted when nobody waits for the answer any more: the deadline passed, the caller's transaction
   * was aborted, or this node closes. What the handler enlisted is rolled back.
   */
  readonly signal: AbortSignal;
  /** With `barrier`: what its local transaction is worked with. Else undefined. */
  readonly client: Client;
  /**
   * Begins a branch of the caller's transaction in a resource of this node, and answers its handle.
   * Prepared as soon as the handler has returned. Rejects as `Transaction.enlist` does.
   */
  enlist<Handle>(participant: Participant<Handle>): Promise<Handle>;
}

/** What `commit` and `abort` of a service work with, beside the payload. */
export interface ServiceEndContext<Client> {
  /** What the barrier's local transaction is worked with. */
  readonly client: Client;
  /** Which branch it is. */
  readonly branchId: string;
  /** The same at every call for it: the idempotency key for effects outside of the client. */
  readonly key: string;
  /** Aborted when the call must end: its local transaction is rolled back. */
  readonly signal: AbortSignal;
}

/**
 * What a service does.
 *
 * `prepare` does the work of a call and answers its result: in resources that it enlists, or, behind a
 * `barrier`, with `client`. What it throws aborts the caller's transaction, with the error's message
 * as the reason, so put nothing secret there.
 *
 * `commit` and `abort` go with a `barrier` and without resources: each takes effect exactly once, on
 * whatever node that serves the name, and is tried again until it works. `abort` is called only after
 * a `prepare` that succeeded.
 */
export interface ServiceHandlers<Payload, Result, Client = undefined> {
  /** Does the work of a call. */
  prepare(payload: Payload, context: ServiceContext<Client>): Promise<Result> | Result;
  /** Makes the work last, behind a barrier. */
  commit?(payload: Payload, context: ServiceEndContext<Client>): Promise<unknown> | unknown;
  /** Undoes the work, behind a barrier. */
  abort?(payload: Payload, context: ServiceEndContext<Client>): Promise<unknown> | unknown;
}

/** A service of this node, until it is closed. */
export interface ServedParticipant {
  /** The name that callers call. */
  readonly name: string;
  /** Names this process in records. */
  readonly nodeId: string;
  /** Resolves when others can see that this node serves; rejects when it was closed before. */
  readonly ready: Promise<void>;
  /** Counts since the start. */
  stats(): ServeStats;
  /** Finishes now what this node, or one that died, left prepared in its resources. */
  recover(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Reads what the store and every resource promise. */
  guarantees(options?: {
    readonly signal?: AbortSignal | undefined;
  }): Promise<readonly Guarantees[]>;
  /**
   * Takes no further call, waits `drainMs` (default 5,000) for those under way, then gives back what
   * has not voted; what waits for a decision is left to other nodes and to the next start. Never
   * rejects.
   */
  close(options?: { readonly drainMs?: number | undefined }): Promise<void>;
  /** Closes with the default `drainMs`. */
  [Symbol.asyncDispose](): Promise<void>;
}
