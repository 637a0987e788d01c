import { type AbortSource, abortable, abortScope, type Scope } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { type BackendErrors, isOwnAnswer } from './backend-errors.js';
import { branchEndedError } from './branch-errors.js';
import { sourceOf } from './call-scope.js';
import type { BranchContext, BranchRecord, ParticipantCallOptions, Vote } from './participant.js';

/** What a branch on a connection needs of its participant. */
export interface ConnectionBranchHost {
  readonly name: string;
  readonly backend: string;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  /** Over another connection, where the branch's own is gone. */
  abort(branch: BranchRecord, options?: ParticipantCallOptions): Promise<void>;
}

/** What the body of the transaction did and does on the connection. */
interface Work {
  /** Refuses further statements with what `refusal` makes. */
  close(refusal: () => unknown): void;
  /** Resolves when no statement is under way any more. */
  idle(): Promise<void>;
}

/** What a database does in its own way. */
export interface ConnectionBranchOptions {
  readonly host: ConnectionBranchHost;
  readonly context: BranchContext;
  /** Aborted with the transaction, as the context's signal is, which nobody need make. */
  readonly source: AbortSource;
  readonly work: Work;
  readonly resultUnknown: BackendErrors['resultUnknown'];
  /** Phase two on the connection that prepared. */
  readonly finish: (operation: 'commit' | 'abort', signal: AbortSource) => Promise<void>;
  /** Whether the server answered that nothing is open on the connection any more; ends the branch. */
  readonly rollBack: (signal: AbortSource) => Promise<boolean>;
  /** Gives the connection back to its pool, or closes it. */
  readonly letGo: (how: 'release' | 'destroy') => void;
}

/** The life of a branch in the process that began it: one connection, one transaction. */
export interface ConnectionBranch {
  readonly isPrepared: boolean;
  /** Set with the vote, or before a one-phase commit. */
  evidence: string;
  record(): BranchRecord;
  /** Asks for the vote, which `abort` can interrupt. */
  vote(
    ask: (signal: AbortSource) => Promise<Vote>,
    options: ParticipantCallOptions | undefined,
  ): Promise<Vote>;
  /** It is prepared, with this evidence. */
  yes(evidence: string): Vote;
  /** Takes the one step out of the work; no statement of the body comes after it. */
  leaveActive(operation: string): void;
  /** For so long an answer is waited for. */
  scope(parents: readonly (AbortSource | undefined)[]): Scope;
  /**
   * Waits a little beyond the signal. A prepare that is let go of while it is on its way leaves a
   * prepared branch, with its locks, until the next sweep; its answer usually comes at once.
   */
  patiently<T>(answer: Promise<T>, signal: AbortSource): Promise<T>;
  /** Phase two; without a reply, the participant's other way goes on. */
  finish(operation: 'commit' | 'abort', options: ParticipantCallOptions | undefined): Promise<void>;
  abort(options: ParticipantCallOptions | undefined): Promise<void>;
  /** It is over, and so is its use of the connection. */
  end(how: 'release' | 'destroy'): void;
  /** Nobody can tell how it stands: closes the connection, and answers what to throw. */
  lose(operation: string, cause: unknown): Error;
}

/** A statement that is under way when the transaction aborts gets this long before it is cut off. */
const ABORT_GRACE_MS = 250;

type State = 'active' | 'preparing' | 'prepared' | 'unknown' | 'ended';

/** Begins the life of a branch whose connection is inside its transaction. */
export function connectionBranch(options: ConnectionBranchOptions): ConnectionBranch {
  return new Life(options);
}

class Life implements ConnectionBranch {
  readonly #options: ConnectionBranchOptions;
  #state: State = 'active';
  #preparing: { readonly scope: Scope; readonly done: Promise<unknown> } | undefined;
  evidence = '';

  constructor(options: ConnectionBranchOptions) {
    this.#options = options;
  }

  get isPrepared(): boolean {
    return this.#state === 'prepared';
  }

  record(): BranchRecord {
    return { branchId: this.#options.context.branchId, evidence: this.evidence };
  }

  async vote(
    ask: (signal: AbortSource) => Promise<Vote>,
    options: ParticipantCallOptions | undefined,
  ): Promise<Vote> {
    this.leaveActive('prepare');
    using scope = this.scope([sourceOf(options), this.#options.source]);
    const done = ask(scope);
    this.#preparing = { scope, done };
    return await done;
  }

  yes(evidence: string): Vote {
    this.evidence = evidence;
    this.#state = 'prepared';
    return { vote: 'yes', evidence };
  }

  leaveActive(operation: string): void {
    this.#closeWork();
    if (this.#state !== 'active') {
      throw new Error(`${operation} of a branch that is ${this.#state}; it can be asked once`);
    }
    this.#state = 'preparing';
  }

  scope(parents: readonly (AbortSource | undefined)[]): Scope {
    const { clock, callTimeoutMs } = this.#options.host;
    return abortScope({ clock, parents, timeoutMs: callTimeoutMs });
  }

  async patiently<T>(answer: Promise<T>, signal: AbortSource): Promise<T> {
    try {
      return await abortable(answer, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      using grace = this.#grace();
      return await abortable(answer, grace);
    }
  }

  async finish(
    operation: 'commit' | 'abort',
    options: ParticipantCallOptions | undefined,
  ): Promise<void> {
    if (this.#state !== 'prepared') {
      if (this.#state === 'ended') return;
      throw new Error(`${operation} of a branch that is ${this.#state}; prepare it first`);
    }
    using scope = this.scope([sourceOf(options)]);
    try {
      await this.#options.finish(operation, scope);
    } catch (error) {
      const lost = this.lose(operation, error);
      throw isOwnAnswer(error, scope) ? error : lost;
    }
    this.end('release');
  }

  async abort(options: ParticipantCallOptions | undefined): Promise<void> {
    const { host, source } = this.#options;
    this.#closeWork();
    if (this.#preparing !== undefined) {
      const reason = source.reason ?? new Error('the branch is aborted');
      this.#preparing.scope.abort(reason);
      await this.#preparing.done.catch(() => {});
    }
    if (this.#state === 'prepared') return this.finish('abort', options);
    if (this.#state === 'unknown') {
      await host.abort(this.record(), options);
      this.#state = 'ended';
    } else if (this.#state === 'active') {
      this.#state = 'ended';
      await this.#giveUp(options);
    }
  }

  end(how: 'release' | 'destroy'): void {
    if (this.#state !== 'unknown') this.#state = 'ended';
    this.#options.letGo(how);
  }

  lose(operation: string, cause: unknown): Error {
    const { host, context, resultUnknown } = this.#options;
    this.#state = 'unknown';
    this.end('destroy');
    return resultUnknown(host.backend, `${operation} of branch ${context.branchId}`, cause);
  }

  /** Ends a branch of which nothing is prepared. Its server undoes it also without being asked. */
  async #giveUp(options: ParticipantCallOptions | undefined): Promise<void> {
    using scope = this.#grace(sourceOf(options));
    try {
      await abortable(this.#options.work.idle(), scope);
    } catch {
      this.end('destroy');
      return;
    }
    await this.#options.rollBack(scope);
  }

  #grace(parent?: AbortSource): Scope {
    const { clock } = this.#options.host;
    return abortScope({ clock, parents: [parent], timeoutMs: ABORT_GRACE_MS });
  }

  #closeWork(): void {
    this.#options.work.close(() => branchEndedError(this.#options.host.name));
  }
}
