import type { Clock } from '../core/clock.js';
import type { GuaranteeLevel, Guarantees } from '../core/guarantees.js';
import type { TransactionId } from '../core/ids.js';
import type { Random } from '../core/random.js';
import type { DecisionLog } from './decision-log.js';
import type { Outcome } from './outcome.js';
import type { Participant } from './participant.js';
import type { InDoubtBranch, RecoveryReport } from './recovery-report.js';
import type { RemoteCallOptions } from './remote/remote-calls.js';
import type { TransactionStats } from './statistics.js';
import type { TransactionSite } from './three-phase/transaction-site.js';

/** Options of `createTransactionCoordinator`. */
export interface TransactionCoordinatorOptions {
  /** Where decisions live: `redisTransactions`, `zookeeperTransactions`, `memoryTransactions`. */
  readonly log: DecisionLog;
  /**
   * Every resource that may ever hold a prepared branch of this namespace, because recovery must
   * list them all. Names are unique and stable for ever. The coordinator does not close them.
   */
  readonly participants: readonly Participant[];
  /**
   * Names this process in records, 1 to 256 UTF-8 bytes. Default: host, process and a random part.
   */
  readonly nodeId?: string | undefined;
  /**
   * Keeps several deployments on the same databases and log apart: 1 to 10 of `[A-Za-z0-9_-]`.
   * Recovery never touches the branches of another one. Default `default`.
   */
  readonly namespace?: string | undefined;
  /** How long a transaction may take when it does not say, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number | undefined;
  /**
   * How often this node looks for what others, or itself, left unfinished, in milliseconds, give or
   * take a quarter. 10 or more, or Infinity for never; default 5,000. The first look is at the
   * start.
   */
  readonly sweepMs?: number | undefined;
  /**
   * Refuses to begin, with GUARANTEE_REFUSED, unless the log and every enlisted participant survive
   * at least this. Default: no demand.
   */
  readonly requireGuarantee?: GuaranteeLevel | undefined;
  /** Begins although a backend's settings break what is promised. Default false. */
  readonly acceptRisk?: boolean | undefined;
  /**
   * A participant in whose database the log lives too (`postgresTransactions` on the same database as
   * a `postgresParticipant`): its branch stays a plain local transaction, and its commit, with the
   * decision inside, *is* the decision. That saves its PREPARE and the log's own write; in return
   * its locks are held until all others are prepared. Default none.
   */
  readonly lastResource?: Participant | undefined;
  /**
   * The voting site of this process, made by `createTransactionSite`: needed for
   * `protocol: 'three-phase'`. Its name stays the same across restarts, unlike an incarnation. It is
   * not closed. Default none.
   */
  readonly site?: TransactionSite | undefined;
  /**
   * Answers the `traceparent` (W3C Trace Context) of whatever is being traced, at each call to another
   * service and inside its span: handlers find it in their context. What it throws, and what is not a
   * traceparent, is passed over. Default none.
   */
  readonly traceparent?: (() => string | undefined) | undefined;
  /** The source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
  /** The source of chance. Default cryptographically strong. */
  readonly random?: Random | undefined;
}

/** Options of {@link TransactionCoordinator.run}. */
export interface TransactionOptions {
  /** What it is about, 1 to 1,024 UTF-8 bytes: it stands in the record, its digest in the id. */
  readonly resourceId: string;
  /** How long it may take until it is decided, in milliseconds: 1 to 86,400,000. */
  readonly timeoutMs?: number | undefined;
  /**
   * The commit protocol. `two-phase` (default): the log decides. `three-phase`: the sites decide by a
   * majority, so that a coordinator and a log that are gone block nobody; it needs the coordinator's
   * `site`, and two more sites among those whose services were called, else PROTOCOL_UNSUPPORTED.
   */
  readonly protocol?: 'two-phase' | 'three-phase' | undefined;
  /**
   * When a committed transaction is answered: `applied` (default) when every participant has
   * committed, or failed to at first, or time ran out; `decided` as soon as the decision is
   * durable, while participants commit in the background and a read may still find what was before.
   */
  readonly waitFor?: 'applied' | 'decided' | undefined;
  /** Aborts the transaction until its decision was sent; afterwards it is ignored. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Makes the transaction happen once, 1 to 1,024 UTF-8 bytes: for 24 hours after it committed, `run`
   * with the same key in this namespace answers that it was committed, without running the body.
   *
   * Only commits are remembered: an abort can be tried again, and so can a transaction in which no
   * participant wrote. The body's value is not stored: a repeated outcome has `isRepeated: true` and
   * no value. While another one with this key is under way, TRANSACTION_KEY_BUSY.
   */
  readonly key?: string | undefined;
  /**
   * Begins again, with a fresh transaction and the same body, when a participant says that the
   * abort came of a conflict with others: a serialization failure, a deadlock, a lock that was
   * waited for too long. So the body must be one that can run again. Default one attempt.
   */
  readonly retry?: TransactionRetry | undefined;
  /**
   * The `traceparent` (W3C Trace Context) that calls to other services carry, before that of the
   * coordinator's hook. Default the hook's.
   */
  readonly traceparent?: string | undefined;
}

/** How often a transaction is tried. */
export interface TransactionRetry {
  /**
   * How many times the body may run at most, 1 to 100. Between two attempts it waits 5 to 10 ms,
   * twice as long each time, at most 1 s; all of them together take no longer than `timeoutMs`.
   */
  readonly attempts: number;
}

/** Options of a transaction that happens once. */
export interface KeyedTransactionOptions extends TransactionOptions {
  readonly key: string;
}

/** What the body of a transaction works with. */
export interface Transaction {
  /** The global id, `transactionId(resourceId, nodeId, …)`. */
  readonly transactionId: TransactionId;
  /** Which try of the body this is, from 1 on: more than 1 only with `retry`. */
  readonly attempt: number;
  /**
   * Aborted when the transaction cannot commit any more: time-out, the caller's signal, a fence,
   * close.
   */
  readonly signal: AbortSignal;
  /**
   * Begins a branch in a participant and answers its handle; the same handle when asked again.
   * Rejects with PARTICIPANT_UNKNOWN, GUARANTEE_REFUSED, BRANCH_ENDED, or what the participant
   * says.
   */
  enlist<Handle>(participant: Participant<Handle>): Promise<Handle>;
  /**
   * Has another service do a part of the transaction: a node that serves `service` with
   * `serveParticipant` runs its handler with the payload, prepares what the handler did, and answers
   * what the handler returned. That part commits and aborts with this transaction, whatever dies.
   *
   * Payload and result travel as JSON through the store of the log. A call that fails aborts the
   * transaction, whether or not the body catches its error: CALL_REFUSED (the handler threw),
   * CALL_UNSERVED, CALL_TIMEOUT, CALL_QUEUE_FULL, CALL_INVALID (the result) or what the store says.
   * Before anything is sent it rejects with INVALID_ARGUMENT, CALL_INVALID (the payload),
   * CALL_TOO_LARGE, BRANCH_ENDED, or BACKEND_UNSUPPORTED where the log cannot carry calls.
   */
  call<Result = unknown, Payload = unknown>(
    service: string,
    payload: Payload,
    options?: RemoteCallOptions<Payload, Result>,
  ): Promise<Result>;
  /**
   * Calls `callback` once the transaction is committed, before `run` answers, at most until its
   * time-out; what it throws is published as `tricord:transaction.failed` and changes nothing. Not
   * called when it aborts, nor when this process dies. Throws CLOSED after the body has ended.
   */
  afterCommit(callback: () => unknown): void;
  /**
   * Lets the body return normally, and the transaction abort all the same, by 'rollback-only'. Throws
   * CLOSED after the body has ended, when it would abort nothing any more.
   */
  setRollbackOnly(reason: string): void;
}

/** What a coordinator promises: the weakest of its log and all its participants. */
export interface CoordinatorGuarantees extends Guarantees {
  /** What the log and each participant promise, the log first. */
  readonly parts: readonly Guarantees[];
}

/** Options of calls that only talk to the backends. */
export interface CoordinatorCallOptions {
  /** Gives up the call. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Commits work in several resources together or not at all.
 *
 * Atomic: as far as `guarantees()` say, either every branch commits or every branch aborts,
 * whatever process dies or message is lost; any coordinator of the same log and namespace finishes
 * what a dead one left. A lost reply is never guessed: it is found out by evidence, or answered
 * 'in-doubt'.
 */
export interface TransactionCoordinator {
  /** Names this process in records. */
  readonly nodeId: string;
  /** Whose branches it recovers. */
  readonly namespace: string;
  /**
   * Runs `body` as a transaction and commits it. Resolves with an {@link Outcome}; rejects only
   * when it could not begin: INVALID_ARGUMENT, CLOSED, TRANSACTION_NESTED, GUARANTEE_REFUSED,
   * LOG_FULL, BACKEND_UNAVAILABLE, or the reason of a signal that was aborted before; and with
   * TRANSACTION_KEY_BUSY or PROTOCOL_UNSUPPORTED, after which nothing of it took effect.
   */
  run<Value>(
    options: KeyedTransactionOptions,
    body: (tx: Transaction) => Promise<Value> | Value,
  ): Promise<Outcome<Value | undefined>>;
  /** Without a key the body runs here, and its value is there. */
  run<Value>(
    options: TransactionOptions,
    body: (tx: Transaction) => Promise<Value> | Value,
  ): Promise<Outcome<Value>>;
  /**
   * Like `run`, and answers the body's value. Rejects with the body's own error as it is, with
   * TRANSACTION_ABORTED or with TRANSACTION_IN_DOUBT.
   */
  commit<Value>(
    options: KeyedTransactionOptions,
    body: (tx: Transaction) => Promise<Value> | Value,
  ): Promise<Value | undefined>;
  /** Without a key the body runs here, and its value is there. */
  commit<Value>(
    options: TransactionOptions,
    body: (tx: Transaction) => Promise<Value> | Value,
  ): Promise<Value>;
  /**
   * Finishes now what dead coordinators left, and this one, in every participant that can be
   * reached. One that cannot is in the report and stops nothing. Rejects when the log cannot be
   * reached.
   */
  recover(options?: CoordinatorCallOptions): Promise<RecoveryReport>;
  /**
   * The branches that wait for a coordinator that is not there, or for an unknown decision; read page
   * by page, and nothing is touched. A participant that cannot be listed stops nothing: the branches
   * of the others come first, and then the iteration throws what it met.
   */
  inDoubt(options?: CoordinatorCallOptions): AsyncIterableIterator<InDoubtBranch>;
  /** Reads what the log and every participant promise as they are configured now. */
  guarantees(options?: CoordinatorCallOptions): Promise<CoordinatorGuarantees>;
  /** Counts and durations since the start. */
  stats(): TransactionStats;
  /**
   * Takes no new transaction, waits `drainMs` (default 5,000) for those under way, then aborts what
   * is undecided; branches in doubt are left to others. Ends the sweep and what the log opened.
   * Never rejects; afterwards nothing keeps the process running.
   */
  close(options?: { readonly drainMs?: number | undefined }): Promise<void>;
  /** Closes with the default `drainMs`. */
  [Symbol.asyncDispose](): Promise<void>;
}
