import { abortable, abortScope, type Scope } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { CoordinationError } from '../../core/errors.js';
import { branchEndedError } from '../../transaction/branch-errors.js';
import type { RunWithin, WithinAnswer } from '../../transaction/decision-log.js';
import type {
  Branch,
  BranchContext,
  BranchRecord,
  LastResourceOutcome,
  OnePhaseOutcome,
  ParticipantCallOptions,
  Vote,
} from '../../transaction/participant.js';
import type { PostgresBranchClient, PostgresPool, StatementResult } from './client.js';
import type { Connection } from './connection.js';
import { messageOf, resultUnknown, sqlState } from './errors.js';
import { type BranchWork, branchWork } from './handle.js';
import { commitLast } from './last-resource.js';
import {
  commitPrepared,
  evidenceOf,
  literalOf,
  type Resource,
  rollbackPrepared,
  type XactStatus,
} from './prepared.js';

/** What a branch needs of its participant. */
export interface BranchHost {
  readonly name: string;
  readonly backend: string;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  /** Over another connection, where the branch's own is gone. */
  abort(branch: BranchRecord, options?: ParticipantCallOptions): Promise<void>;
  settledStatus(evidence: string, signal: AbortSignal): Promise<XactStatus>;
}

/** A statement that is under way when the transaction aborts gets this long before it is cut off. */
const ABORT_GRACE_MS = 250;
const CURRENT_XID = 'select pg_current_xact_id_if_assigned()::text as xid';

type State = 'active' | 'preparing' | 'prepared' | 'unknown' | 'ended';

/** A branch in the process that began it: one connection, one transaction. */
export class PostgresBranch implements Branch<PostgresBranchClient<PostgresPool>> {
  readonly #host: BranchHost;
  readonly #context: BranchContext;
  readonly #connection: Connection;
  readonly #work: BranchWork;
  readonly #onEnd: () => void;
  #state: State = 'active';
  #evidence = '';
  #preparing: { readonly scope: Scope; readonly done: Promise<unknown> } | undefined;

  constructor(host: BranchHost, context: BranchContext, connection: Connection, onEnd: () => void) {
    this.#host = host;
    this.#context = context;
    this.#connection = connection;
    this.#work = branchWork(host.name, connection.client);
    this.#onEnd = onEnd;
  }

  get handle(): PostgresBranchClient<PostgresPool> {
    return this.#work.handle;
  }

  async prepare(options?: ParticipantCallOptions): Promise<Vote> {
    this.#leaveActive('prepare');
    const scope = this.#scope([options?.signal, this.#context.signal]);
    const done = this.#prepare(scope.signal).finally(() => scope[Symbol.dispose]());
    this.#preparing = { scope, done };
    return done;
  }

  async #prepare(signal: AbortSignal): Promise<Vote> {
    const obstacle = await this.#obstacle(signal);
    if (obstacle !== undefined) return this.#no(obstacle, signal);
    if (!this.#work.mayHaveWritten && !this.#work.mayHaveNotified) {
      const vote = await this.#readOnly(signal);
      if (vote !== undefined) return vote;
    }
    return this.#prepareTransaction(signal);
  }

  /** What makes a yes impossible before anything is asked of the server. */
  async #obstacle(signal: AbortSignal): Promise<unknown> {
    try {
      await abortable(this.#work.idle(), signal);
    } catch (reason) {
      return reason;
    }
    if (this.#work.tampered !== undefined) return this.#work.tampered;
    return this.#connection.isBroken ? new Error('the connection was lost') : undefined;
  }

  /**
   * Commits at once what has written nothing. Undefined when it has written after all. Without
   * PREPARE nothing can be left in doubt, so every error here is a no.
   */
  async #readOnly(signal: AbortSignal): Promise<Vote | undefined> {
    try {
      const [asked] = await this.#run(CURRENT_XID, signal);
      if (xidIn(asked) !== undefined) return undefined;
      const [ended] = await this.#run('commit', signal);
      if (ended?.command !== 'COMMIT') return await this.#no(this.#failure(), signal);
    } catch (error) {
      return this.#no(error, signal);
    }
    this.#end('release');
    return { vote: 'read-only' };
  }

  /** The id is taken in the same message as PREPARE, so that evidence costs no round trip. */
  async #prepareTransaction(signal: AbortSignal): Promise<Vote> {
    const statement = `prepare transaction ${literalOf(this.#context.branchId)}`;
    if (signal.aborted) return this.#no(signal.reason, signal);
    const { last } = this.#work;
    const work = last === undefined ? '' : `${last.message}; `;
    let results: readonly StatementResult[];
    try {
      results = await this.#patientRun(`${work}${CURRENT_XID}; ${statement}`, signal);
    } catch (error) {
      // Only a server that goes on talking has really refused; an error may also be its last word.
      if (sqlState(error) !== undefined && (await this.#rollBack(signal))) {
        return noVote(this.#work.firstError ?? error);
      }
      this.#state = 'unknown';
      this.#end('destroy');
      throw this.#unknown('prepare', error);
    }
    // In a failed transaction PREPARE rolls back, and says so by its tag alone.
    if (results.at(-1)?.command !== 'PREPARE') return this.#no(this.#failure(), signal);
    const obstacle = last?.obstacleIn(results.slice(0, -2));
    if (obstacle !== undefined) {
      await this.#dropPrepared('rollback', signal);
      return noVote(obstacle);
    }
    const xid = xidIn(results.at(-2));
    // It looked like a writer but changed nothing: over, and its slot is free.
    if (xid === undefined) {
      await this.#dropPrepared('commit', signal);
      return { vote: 'read-only' };
    }
    this.#evidence = evidenceOf(xid);
    this.#state = 'prepared';
    return { vote: 'yes', evidence: this.#evidence };
  }

  /** Ends a branch that is prepared and need not be. */
  async #dropPrepared(verb: 'commit' | 'rollback', signal: AbortSignal): Promise<void> {
    try {
      await this.#run(`${verb} prepared ${literalOf(this.#context.branchId)}`, signal);
    } catch (error) {
      this.#state = 'unknown';
      this.#end('destroy');
      throw this.#unknown('prepare', error);
    }
    this.#end('release');
  }

  /** Sends what was kept back, where there is no PREPARE that it could go with. */
  async #sendLast(signal: AbortSignal): Promise<unknown> {
    const { last } = this.#work;
    if (last === undefined) return undefined;
    try {
      return last.obstacleIn(await this.#run(last.message, signal));
    } catch (error) {
      return this.#work.firstError ?? error;
    }
  }

  async commit(options?: ParticipantCallOptions): Promise<void> {
    await this.#finish('commit', commitPrepared, options);
  }

  async abort(options?: ParticipantCallOptions): Promise<void> {
    this.#work.close(() => branchEndedError(this.#host.name));
    if (this.#preparing !== undefined) {
      this.#preparing.scope.abort(
        this.#context.signal.reason ?? new Error('the branch is aborted'),
      );
      await this.#preparing.done.catch(() => {});
    }
    if (this.#state === 'prepared') return this.#finish('abort', rollbackPrepared, options);
    if (this.#state === 'unknown') {
      await this.#host.abort(this.#record(), options);
      this.#state = 'ended';
      return;
    }
    if (this.#state === 'active') {
      this.#state = 'ended';
      await this.#giveUp(options);
    }
  }

  async commitOnePhase(options?: ParticipantCallOptions): Promise<OnePhaseOutcome> {
    this.#leaveActive('commit');
    using scope = this.#scope([options?.signal, this.#context.signal]);
    const { signal } = scope;
    const obstacle = (await this.#obstacle(signal)) ?? (await this.#sendLast(signal));
    if (obstacle !== undefined) return this.#abortedOnePhase(obstacle, signal);
    let xid: string | undefined;
    try {
      // Asked before COMMIT, because with a lost reply it would be lost too.
      xid = xidIn((await this.#run(CURRENT_XID, signal))[0]);
    } catch (error) {
      return this.#abortedOnePhase(this.#work.firstError ?? error, signal);
    }
    try {
      const [ended] = await this.#run('commit', signal);
      if (ended?.command !== 'COMMIT') return this.#abortedOnePhase(this.#failure(), signal);
      this.#end('release');
      return { state: 'committed' };
    } catch (error) {
      if (sqlState(error) !== undefined && (await this.#rollBack(signal))) {
        return { state: 'aborted', reason: messageOf(error), cause: error };
      }
      this.#end('destroy');
      return this.#resolveOnePhase(xid, error, options);
    }
  }

  /** As the last resource: the decision is a row that this commit makes true, or not. */
  async commitLast(
    decide: (run: RunWithin) => Promise<WithinAnswer>,
    options?: ParticipantCallOptions,
  ): Promise<LastResourceOutcome> {
    this.#leaveActive('commit');
    using scope = this.#scope([options?.signal, this.#context.signal]);
    const { signal } = scope;
    const outcome = await commitLast({
      participant: this.#host.name,
      obstacle: (await this.#obstacle(signal)) ?? (await this.#sendLast(signal)),
      decide: () =>
        decide(async (text) => {
          const results = await this.#run(`${text}; ${CURRENT_XID}`, signal);
          this.#evidence = evidenceOf(xidIn(results.at(-1)) ?? '');
          return results.slice(0, -1);
        }),
      commit: async () => (await this.#run('commit', signal))[0]?.command,
      rollBack: () => this.#rollBack(signal),
      failure: (error) => this.#work.firstError ?? error,
    });
    if (outcome.state === 'committed') this.#end('release');
    if (outcome.state !== 'unknown') return outcome;
    this.#end('destroy');
    return { ...outcome, evidence: this.#evidence };
  }

  /** The reply to COMMIT was lost: the commit log knows. */
  async #resolveOnePhase(
    xid: string | undefined,
    cause: unknown,
    options: ParticipantCallOptions | undefined,
  ): Promise<OnePhaseOutcome> {
    if (xid === undefined) {
      const reason = 'the connection was lost, and the branch had written nothing';
      return { state: 'aborted', reason, cause };
    }
    const evidence = evidenceOf(xid);
    using scope = this.#scope([options?.signal]);
    const status = await this.#host.settledStatus(evidence, scope.signal).catch(() => 'unknown');
    if (status === 'committed') return { state: 'committed' };
    if (status === 'aborted') return { state: 'aborted', reason: messageOf(cause), cause };
    return { state: 'unknown', evidence, cause };
  }

  async #abortedOnePhase(cause: unknown, signal: AbortSignal): Promise<OnePhaseOutcome> {
    await this.#rollBack(signal);
    return { state: 'aborted', reason: messageOf(cause), cause };
  }

  /** Phase two on the connection that prepared; without a reply, the participant's other way goes on. */
  async #finish(
    operation: 'commit' | 'abort',
    act: (resource: Resource, branch: BranchRecord) => Promise<void>,
    options: ParticipantCallOptions | undefined,
  ): Promise<void> {
    if (this.#state !== 'prepared') {
      if (this.#state === 'ended') return;
      throw new Error(`${operation} of a branch that is ${this.#state}; prepare it first`);
    }
    using scope = this.#scope([options?.signal]);
    const { signal } = scope;
    const { name, backend, clock } = this.#host;
    const run = (text: string): Promise<readonly StatementResult[]> => this.#run(text, signal);
    try {
      await act({ participant: name, backend, clock, signal, run }, this.#record());
    } catch (error) {
      this.#state = 'unknown';
      this.#end('destroy');
      throw error instanceof CoordinationError ? error : this.#unknown(operation, error);
    }
    this.#end('release');
  }

  /** Ends a branch of which nothing is prepared. Its server undoes it also without being asked. */
  async #giveUp(options: ParticipantCallOptions | undefined): Promise<void> {
    using scope = abortScope({
      clock: this.#host.clock,
      parents: [options?.signal],
      timeoutMs: ABORT_GRACE_MS,
    });
    try {
      await abortable(this.#work.idle(), scope.signal);
    } catch {
      this.#end('destroy');
      return;
    }
    await this.#rollBack(scope.signal);
  }

  /** Whether the server answered that nothing is open on the connection any more; ends the branch. */
  async #rollBack(signal: AbortSignal): Promise<boolean> {
    try {
      await this.#run('rollback', signal);
      await this.#work.last?.tidy((text) => this.#run(text, signal));
      this.#end('release');
      return true;
    } catch {
      this.#end('destroy');
      return false;
    }
  }

  async #no(cause: unknown, signal: AbortSignal): Promise<Vote> {
    await this.#rollBack(signal);
    return noVote(cause);
  }

  #failure(): unknown {
    return this.#work.firstError ?? new Error('the transaction had failed before its end');
  }

  /**
   * Waits a little beyond the signal. A PREPARE that is let go of while it is on its way leaves a
   * prepared branch, with its locks, until the next sweep; its answer usually comes at once.
   */
  async #patientRun(text: string, signal: AbortSignal): Promise<readonly StatementResult[]> {
    const answer = this.#connection.run(text);
    try {
      return await abortable(answer, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      using grace = abortScope({ clock: this.#host.clock, timeoutMs: ABORT_GRACE_MS });
      return await abortable(answer, grace.signal);
    }
  }

  #run(text: string, signal: AbortSignal): Promise<readonly StatementResult[]> {
    return this.#connection.run(text, signal);
  }

  #record(): BranchRecord {
    return { branchId: this.#context.branchId, evidence: this.#evidence };
  }

  #leaveActive(operation: string): void {
    this.#work.close(() => branchEndedError(this.#host.name));
    if (this.#state !== 'active') {
      throw new Error(`${operation} of a branch that is ${this.#state}; it can be asked once`);
    }
    this.#state = 'preparing';
  }

  #end(how: 'release' | 'destroy'): void {
    if (this.#state !== 'unknown') this.#state = 'ended';
    this.#connection[how]();
    this.#onEnd();
  }

  #scope(parents: readonly (AbortSignal | undefined)[]): Scope {
    const { clock, callTimeoutMs } = this.#host;
    return abortScope({ clock, parents, timeoutMs: callTimeoutMs });
  }

  #unknown(operation: string, cause: unknown): CoordinationError<'RESULT_UNKNOWN'> {
    const { backend } = this.#host;
    return resultUnknown(backend, `${operation} of branch ${this.#context.branchId}`, cause);
  }
}

function noVote(cause: unknown): Vote {
  return { vote: 'no', reason: messageOf(cause), cause };
}

function xidIn(result: StatementResult | undefined): string | undefined {
  const xid = result?.rows[0]?.xid;
  return typeof xid === 'string' ? xid : undefined;
}
