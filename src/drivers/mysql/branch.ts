import { type AbortSource, abortable } from '../../core/abort.js';
import { CoordinationError } from '../../core/errors.js';
import { branchEndedError } from '../../transaction/branch-errors.js';
import { type ScopeTaker, sourceOf } from '../../transaction/call-scope.js';
import {
  type ConnectionBranch,
  type ConnectionBranchHost,
  connectionBranch,
} from '../../transaction/connection-branch.js';
import type {
  Branch,
  BranchContext,
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
import { commitPrepared, rollbackPrepared } from './prepared.js';
import type { Flavour } from './settings.js';
import { BRANCHES_TABLE } from './setup-sql.js';
import { type BranchWork, branchWork } from './work.js';

/** What a branch needs of its participant. */
export interface BranchHost extends CallsOptions, ConnectionBranchHost {
  /** Takes back a connection outside any branch, with the branch's limits still on it. */
  giveBack(connection: Connection, flavour: Flavour): void;
  /** Notes a branch that is prepared on its own connection, until it has ended. */
  hold(branch: MysqlBranch): () => void;
}

/** Parameters: participant, branch. */
const UNDO_NOTE = `update ${BRANCHES_TABLE} set state = 'aborted' where participant = ? and branch_id = ?`;

/** A branch in the process that began it: one connection, one XA transaction. */
export class MysqlBranch implements Branch<MysqlBranchClient<MysqlPool>>, ScopeTaker {
  readonly #host: BranchHost;
  readonly #context: BranchContext;
  readonly #connection: Connection;
  readonly #flavour: Flavour;
  readonly #work: BranchWork;
  readonly #xid: string;
  readonly #life: ConnectionBranch;
  #letGo = (): void => {};

  constructor(host: BranchHost, context: BranchContext, { connection, flavour }: Enlisted) {
    this.#host = host;
    this.#context = context;
    this.#connection = connection;
    this.#flavour = flavour;
    this.#work = branchWork(host.name, connection, flavour);
    this.#xid = host.xids.literal(context.branchId);
    this.#life = connectionBranch({
      ...{ host, context, source: context.signal, work: this.#work, resultUnknown },
      finish: (operation, signal) => this.#finish(operation, signal),
      rollBack: (signal) => this.#rollBack(signal),
      letGo: (how) => this.#letGoConnection(how),
    });
  }

  get takesScope(): true {
    return true;
  }

  get handle(): MysqlBranchClient<MysqlPool> {
    return this.#work.handle;
  }

  async prepare(options?: ParticipantCallOptions): Promise<Vote> {
    return this.#life.vote((signal) => this.#prepare(signal), options);
  }

  async #prepare(signal: AbortSource): Promise<Vote> {
    try {
      await this.#assertSound(signal);
      if (!(await this.#work.mayHaveWritten(signal))) {
        await this.#run(`xa end ${this.#xid}`, signal);
        // It holds nothing but the locks of its reads: over, whatever the others vote.
        await this.#run(`xa commit ${this.#xid} one phase`, signal);
        this.#life.end('release');
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

  async #prepareTransaction(signal: AbortSource): Promise<Vote> {
    try {
      await this.#life.patiently(this.#connection.run(`xa prepare ${this.#xid}`), signal);
    } catch (error) {
      // Only a server that goes on talking has really refused; an error may also be its last word.
      if (errnoOf(error) !== undefined && (await this.#rollBack(signal))) return noVote(error);
      throw this.#life.lose('prepare', error);
    }
    this.#letGo = this.#host.hold(this);
    return this.#life.yes(evidenceOf(this.#host.server.nowMs()));
  }

  async commit(options?: ParticipantCallOptions): Promise<void> {
    await this.#life.finish('commit', options);
  }

  async abort(options?: ParticipantCallOptions): Promise<void> {
    await this.#life.abort(options);
  }

  async commitOnePhase(options?: ParticipantCallOptions): Promise<OnePhaseOutcome> {
    this.#life.leaveActive('commit');
    using signal = this.#life.scope([sourceOf(options), this.#context.signal]);
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
    this.#life.evidence = evidenceOf(this.#host.server.nowMs());
    try {
      await this.#run(`xa commit ${this.#xid} one phase`, signal);
      this.#life.end('release');
      return { state: 'committed' };
    } catch (cause) {
      const reason = messageOf(cause);
      if (errnoOf(cause) !== undefined && (await this.#rollBack(signal))) {
        return { state: 'aborted', reason, cause };
      }
      this.#life.end('destroy');
      if (!hasWritten) return { state: 'aborted', reason: `${reason}; nothing was written`, cause };
      return this.#resolveOnePhase(cause, options);
    }
  }

  /** Notes the abort, unless the commit was first: then the row is there. */
  async #resolveOnePhase(
    cause: unknown,
    options: ParticipantCallOptions | undefined,
  ): Promise<OnePhaseOutcome> {
    const { evidence } = this.#life;
    try {
      await this.#host.abort(this.#life.record(), options);
      return { state: 'aborted', reason: messageOf(cause), cause };
    } catch (error) {
      const isCommitted =
        error instanceof CoordinationError && error.code === 'OUTCOME_CONTRADICTED';
      return isCommitted ? { state: 'committed' } : { state: 'unknown', evidence, cause };
    }
  }

  /** Throws what makes a yes impossible before the server is asked. */
  async #assertSound(signal: AbortSource): Promise<void> {
    await abortable(this.#work.idle(), signal);
    if (this.#work.tampered !== undefined) throw this.#work.tampered;
    // After a lock time-out XA PREPARE succeeds, with the statement missing.
    if (this.#work.firstError !== undefined) throw this.#work.firstError;
    if (this.#connection.isBroken) throw new Error('the connection was lost');
  }

  /** Writes the row that commits with the branch. */
  async #note(signal: AbortSource): Promise<void> {
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

  /** Phase two on the connection that prepared. */
  #finish(operation: 'commit' | 'abort', signal: AbortSource): Promise<void> {
    const at = { connection: this.#connection, flavour: this.#flavour, signal };
    const act = operation === 'commit' ? commitPrepared : rollbackPrepared;
    return act(resourceOn(this.#host, at), this.#life.record());
  }

  /** Closes the connection of a prepared branch: only then may others finish it. */
  detach(): void {
    if (this.#life.isPrepared) this.#life.lose('commit', new Error('the participant was closed'));
  }

  /** Whether the server answered that the branch is rolled back; ends the branch. */
  async #rollBack(signal: AbortSource): Promise<boolean> {
    try {
      // Refused where it has ended, or may only be rolled back; then XA ROLLBACK says how it stands.
      await this.#run(`xa end ${this.#xid}`, signal).catch((error) => {
        if (errnoOf(error) === undefined) throw error;
      });
      await this.#run(`xa rollback ${this.#xid}`, signal);
      this.#life.end('release');
      return true;
    } catch {
      this.#life.end('destroy');
      return false;
    }
  }

  #run(sql: string, signal: AbortSource): Promise<MysqlResult> {
    return this.#connection.run(sql, [], signal);
  }

  #letGoConnection(how: 'release' | 'destroy'): void {
    this.#letGo();
    if (how === 'release') {
      this.#host.giveBack(this.#connection, this.#flavour);
    } else {
      this.#connection.destroy();
      this.#work.abandon();
    }
  }
}

function noVote(cause: unknown): Vote {
  return { vote: 'no', reason: messageOf(cause), cause };
}
