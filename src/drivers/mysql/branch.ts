import { abortable, abortScope, type Scope } from '../../core/abort.js';
import { CoordinationError } from '../../core/errors.js';
import { branchEndedError } from '../../transaction/branch-errors.js';
import type {
  Branch,
  BranchContext,
  BranchRecord,
  OnePhaseOutcome,
  ParticipantCallOptions,
  Vote,
} from '../../transaction/participant.js';
import { type CallsOptions, resourceOn } from './calls.js';
import type { MysqlBranchClient, MysqlPool, MysqlResult } from './client.js';
import type { Connection } from './connection.js';
import type { Enlisted } from './enlist.js';
import { ERRNO, errnoOf, messageOf, resultUnknown } from './errors.js';
import { evidenceOf, NOTE } from './evidence.js';
import { commitPrepared, type Resource, rollbackPrepared } from './prepared.js';
import type { Flavour } from './settings.js';
import { BRANCHES_TABLE } from './setup-sql.js';
import { type BranchWork, branchWork } from './work.js';

/** What a branch needs of its participant. */
export interface BranchHost extends CallsOptions {
  /** Over another connection, where the branch's own is gone. */
  abort(branch: BranchRecord, options?: ParticipantCallOptions): Promise<void>;
  /** Takes back a connection outside any branch, with the branch's limits still on it. */
  giveBack(connection: Connection, flavour: Flavour): void;
  /** Notes a branch that is prepared on its own connection, until it has ended. */
  hold(branch: MysqlBranch): () => void;
}

/** A statement that is under way when the transaction aborts gets this long before it is cut off. */
const ABORT_GRACE_MS = 250;
/** Parameters: participant, branch. */
const UNDO_NOTE = `update ${BRANCHES_TABLE} set state = 'aborted' where participant = ? and branch_id = ?`;

type State = 'active' | 'preparing' | 'prepared' | 'unknown' | 'ended';

/** A branch in the process that began it: one connection, one XA transaction. */
export class MysqlBranch implements Branch<MysqlBranchClient<MysqlPool>> {
  readonly #host: BranchHost;
  readonly #context: BranchContext;
  readonly #connection: Connection;
  readonly #flavour: Flavour;
  readonly #work: BranchWork;
  readonly #xid: string;
  #state: State = 'active';
  #evidence = '';
  #letGo = (): void => {};
  #preparing: { readonly scope: Scope; readonly done: Promise<unknown> } | undefined;

  constructor(host: BranchHost, context: BranchContext, { connection, flavour }: Enlisted) {
    this.#host = host;
    this.#context = context;
    this.#connection = connection;
    this.#flavour = flavour;
    this.#work = branchWork(host.name, connection, flavour);
    this.#xid = host.xids.literal(context.branchId);
  }

  get handle(): MysqlBranchClient<MysqlPool> {
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
    try {
      await this.#assertSound(signal);
      if (!(await this.#work.mayHaveWritten(signal))) {
        await this.#run(`xa end ${this.#xid}`, signal);
        // It holds nothing but the locks of its reads: over, whatever the others vote.
        await this.#run(`xa commit ${this.#xid} one phase`, signal);
        this.#end('release');
        return { vote: 'read-only' };
      }
      await this.#note(signal);
      await this.#run(`xa end ${this.#xid}`, signal);
      if (signal.aborted) throw signal.reason;
    } catch (error) {
      // Without XA PREPARE nothing can be left in doubt, so every error up to here is a no.
      await this.#rollBack(signal);
      return noVote(error);
    }
    return this.#prepareTransaction(signal);
  }

  async #prepareTransaction(signal: AbortSignal): Promise<Vote> {
    try {
      await this.#patientRun(`xa prepare ${this.#xid}`, signal);
    } catch (error) {
      // Only a server that goes on talking has really refused; an error may also be its last word.
      if (errnoOf(error) !== undefined && (await this.#rollBack(signal))) return noVote(error);
      this.#state = 'unknown';
      this.#end('destroy');
      throw this.#unknown('prepare', error);
    }
    this.#evidence = evidenceOf(this.#host.server.nowMs());
    this.#state = 'prepared';
    this.#letGo = this.#host.hold(this);
    return { vote: 'yes', evidence: this.#evidence };
  }

  async commit(options?: ParticipantCallOptions): Promise<void> {
    await this.#finish('commit', commitPrepared, options);
  }

  async abort(options?: ParticipantCallOptions): Promise<void> {
    this.#work.close(() => branchEndedError(this.#host.name));
    if (this.#preparing !== undefined) {
      const reason = this.#context.signal.reason ?? new Error('the branch is aborted');
      this.#preparing.scope.abort(reason);
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
    let hasWritten = true;
    try {
      await this.#assertSound(signal);
      hasWritten = await this.#work.mayHaveWritten(signal);
      // The row is the only thing that can tell what became of it when the reply is lost.
      if (hasWritten) await this.#note(signal);
      await this.#run(`xa end ${this.#xid}`, signal);
    } catch (cause) {
      await this.#rollBack(signal);
      return { state: 'aborted', reason: messageOf(cause), cause };
    }
    this.#evidence = evidenceOf(this.#host.server.nowMs());
    try {
      await this.#run(`xa commit ${this.#xid} one phase`, signal);
      this.#end('release');
      return { state: 'committed' };
    } catch (cause) {
      const reason = messageOf(cause);
      if (errnoOf(cause) !== undefined && (await this.#rollBack(signal))) {
        return { state: 'aborted', reason, cause };
      }
      this.#end('destroy');
      if (!hasWritten) return { state: 'aborted', reason: `${reason}; nothing was written`, cause };
      return this.#resolveOnePhase(cause, options);
    }
  }

  /** Notes the abort, unless the commit was first: then the row is there. */
  async #resolveOnePhase(
    cause: unknown,
    options: ParticipantCallOptions | undefined,
  ): Promise<OnePhaseOutcome> {
    const { evidence } = this.#record();
    try {
      await this.#host.abort(this.#record(), options);
      return { state: 'aborted', reason: messageOf(cause), cause };
    } catch (error) {
      const isCommitted =
        error instanceof CoordinationError && error.code === 'OUTCOME_CONTRADICTED';
      return isCommitted ? { state: 'committed' } : { state: 'unknown', evidence, cause };
    }
  }

  /** Throws what makes a yes impossible before the server is asked. */
  async #assertSound(signal: AbortSignal): Promise<void> {
    await abortable(this.#work.idle(), signal);
    if (this.#work.tampered !== undefined) throw this.#work.tampered;
    // After a lock time-out XA PREPARE succeeds, with the statement missing.
    if (this.#work.firstError !== undefined) throw this.#work.firstError;
    if (this.#connection.isBroken) throw new Error('the connection was lost');
  }

  /** Writes the row that commits with the branch. */
  async #note(signal: AbortSignal): Promise<void> {
    const { name } = this.#host;
    const values = [name, this.#context.branchId];
    let noted: MysqlResult;
    try {
      noted = await this.#connection.run(`insert ${NOTE}`, [...values, 'committed'], signal);
    } catch (error) {
      if (errnoOf(error) !== ERRNO.duplicateEntry) throw error;
      throw new Error('the branch was aborted before', { cause: error });
    }
    if (noted.isInTransaction !== false) return;
    // The body ended the branch by a way that nobody saw: the row must not speak for it.
    await this.#connection.run(UNDO_NOTE, values, signal);
    const { message } = branchEndedError(name);
    throw new CoordinationError('BRANCH_TAMPERED', message, { participant: name, statement: 'XA' });
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
    const at = { connection: this.#connection, flavour: this.#flavour, signal };
    try {
      await act(resourceOn(this.#host, at), this.#record());
    } catch (error) {
      this.#state = 'unknown';
      this.#end('destroy');
      throw error instanceof CoordinationError ? error : this.#unknown(operation, error);
    }
    this.#end('release');
  }

  /** Closes the connection of a prepared branch: only then may others finish it. */
  detach(): void {
    if (this.#state !== 'prepared') return;
    this.#state = 'unknown';
    this.#end('destroy');
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

  /** Whether the server answered that the branch is rolled back; ends the branch. */
  async #rollBack(signal: AbortSignal): Promise<boolean> {
    try {
      // Refused where it has ended, or may only be rolled back; then XA ROLLBACK says how it stands.
      await this.#run(`xa end ${this.#xid}`, signal).catch((error) => {
        if (errnoOf(error) === undefined) throw error;
      });
      await this.#run(`xa rollback ${this.#xid}`, signal);
      this.#end('release');
      return true;
    } catch {
      this.#end('destroy');
      return false;
    }
  }

  /**
   * Waits a little beyond the signal. An XA PREPARE that is let go of while it is on its way leaves a
   * prepared branch, with its locks, until the next sweep; its answer usually comes at once.
   */
  async #patientRun(sql: string, signal: AbortSignal): Promise<MysqlResult> {
    const answer = this.#connection.run(sql);
    try {
      return await abortable(answer, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      using grace = abortScope({ clock: this.#host.clock, timeoutMs: ABORT_GRACE_MS });
      return await abortable(answer, grace.signal);
    }
  }

  #run(sql: string, signal: AbortSignal): Promise<MysqlResult> {
    return this.#connection.run(sql, [], signal);
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
    this.#letGo();
    if (how === 'release') {
      this.#host.giveBack(this.#connection, this.#flavour);
    } else {
      this.#connection.destroy();
      this.#work.abandon();
    }
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
