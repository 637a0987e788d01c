import { type AbortSource, abortable, throwIfAborted } from '../../core/abort.js';
import { type ScopeTaker, sourceOf } from '../../transaction/call-scope.js';
import {
  type ConnectionBranch,
  type ConnectionBranchHost,
  connectionBranch,
} from '../../transaction/connection-branch.js';
import type { RunWithin, WithinAnswer } from '../../transaction/decision-log.js';
import type {
  Branch,
  BranchContext,
  LastResourceOutcome,
  OnePhaseOutcome,
  ParticipantCallOptions,
  Vote,
} from '../../transaction/participant.js';
import type { PostgresBranchClient, PostgresPool, StatementResult } from './client.js';
import type { Connection } from './connection.js';
import type { Enlisted } from './enlist.js';
import { messageOf, resultUnknown, sqlState, unavailable } from './errors.js';
import { type BranchWork, branchWork } from './handle.js';
import { commitLast } from './last-resource.js';
import {
  commitPrepared,
  evidenceOf,
  literalOf,
  rollbackPrepared,
  type XactStatus,
} from './prepared.js';

/** What a branch needs of its participant. */
export interface BranchHost extends ConnectionBranchHost {
  settledStatus(evidence: string, signal: AbortSignal): Promise<XactStatus>;
}

const CURRENT_XID = 'select pg_current_xact_id_if_assigned()::text as xid';

/** A branch in the process that began it: one connection, one transaction. */
export class PostgresBranch implements Branch<PostgresBranchClient<PostgresPool>>, ScopeTaker {
  readonly #host: BranchHost;
  readonly #context: BranchContext;
  readonly #connection: Connection;
  readonly #opening: () => readonly string[];
  readonly #work: BranchWork;
  readonly #life: ConnectionBranch;
  readonly #source: AbortSource;

  constructor(
    host: BranchHost,
    context: BranchContext,
    { connection, opening, giveBack }: Enlisted,
    source: AbortSource,
  ) {
    this.#source = source;
    this.#host = host;
    this.#context = context;
    this.#connection = connection;
    this.#opening = opening;
    this.#work = branchWork(host.name, connection.client, () => this.#begin());
    this.#life = connectionBranch({
      ...{ host, context, source, work: this.#work, resultUnknown },
      finish: (operation, signal) => this.#finish(operation, signal),
      rollBack: (signal) => this.#rollBack(signal),
      letGo(how) {
        connection[how]();
        giveBack();
      },
    });
  }

  get takesScope(): true {
    return true;
  }

  get handle(): PostgresBranchClient<PostgresPool> {
    return this.#work.handle;
  }

  prepare(options?: ParticipantCallOptions): Promise<Vote> {
    return this.#life.vote((signal) => this.#prepare(signal), options);
  }

  async #prepare(signal: AbortSource): Promise<Vote> {
    const obstacle = await this.#obstacle(signal);
    if (obstacle !== undefined) return this.#no(obstacle, signal);
    if (this.#isUntouched) {
      this.#life.end('release');
      return { vote: 'read-only' };
    }
    if (!this.#work.mayHaveWritten && !this.#work.mayHaveNotified) {
      const vote = await this.#readOnly(signal);
      if (vote !== undefined) return vote;
    }
    return this.#prepareTransaction(signal);
  }

  /** What makes a yes impossible before anything is asked of the server. */
  async #obstacle(signal: AbortSource): Promise<unknown> {
    try {
      if (this.#work.isIdle) throwIfAborted(signal);
      else await abortable(this.#work.idle(), signal);
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
  async #readOnly(signal: AbortSource): Promise<Vote | undefined> {
    try {
      const [asked] = await this.#run(CURRENT_XID, signal);
      if (xidIn(asked) !== undefined) return undefined;
      const [ended] = await this.#run('commit', signal);
      if (ended?.command !== 'COMMIT') return await this.#no(this.#failure(), signal);
    } catch (error) {
      return this.#no(error, signal);
    }
    this.#life.end('release');
    return { vote: 'read-only' };
  }

  /** The id is taken in the same message as PREPARE, so that evidence costs no round trip. */
  async #prepareTransaction(signal: AbortSource): Promise<Vote> {
    const statement = `prepare transaction ${literalOf(this.#context.branchId)}`;
    if (signal.aborted) return this.#no(signal.reason, signal);
    const message = this.#message([CURRENT_XID, statement]);
    let results: readonly StatementResult[];
    try {
      results = await this.#life.patiently(this.#connection.run(message.text), signal);
    } catch (error) {
      // Only a server that goes on talking has really refused; an error may also be its last word.
      if (sqlState(error) !== undefined && (await this.#rollBack(signal))) {
        return noVote(this.#work.firstError ?? error);
      }
      throw this.#life.lose('prepare', error);
    }
    // In a failed transaction PREPARE rolls back, and says so by its tag alone.
    if (results.at(-1)?.command !== 'PREPARE') return this.#no(this.#failure(), signal);
    const obstacle = message.obstacleIn(results);
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
    return this.#life.yes(evidenceOf(xid));
  }

  /** Ends a branch that is prepared and need not be. */
  async #dropPrepared(verb: 'commit' | 'rollback', signal: AbortSource): Promise<void> {
    try {
      await this.#run(`${verb} prepared ${literalOf(this.#context.branchId)}`, signal);
    } catch (error) {
      throw this.#life.lose('prepare', error);
    }
    this.#life.end('release');
  }

  /** Sends what was kept back, where there is no PREPARE that it could go with; answers the id. */
  async #sendLast(signal: AbortSource): Promise<string | undefined> {
    const message = this.#message([CURRENT_XID]);
    const results = await this.#run(message.text, signal);
    const obstacle = message.obstacleIn(results);
    if (obstacle !== undefined) throw obstacle;
    return xidIn(results.at(-1));
  }

  async #lastObstacle(signal: AbortSource): Promise<unknown> {
    if (this.#work.isBegun && this.#work.last === undefined) return undefined;
    try {
      await this.#sendLast(signal);
    } catch (error) {
      return this.#work.firstError ?? error;
    }
    return undefined;
  }

  /** Nothing was sent, and nothing was kept back. */
  get #isUntouched(): boolean {
    return !this.#work.isBegun && this.#work.last === undefined;
  }

  #begin(): Promise<unknown> {
    return this.#connection.run(this.#opening().join('; ')).catch((error: unknown) => {
      throw unavailable(this.#host.backend, 'begin', error);
    });
  }

  /** One message: what begins the transaction, if nothing did; what was kept back; and these. */
  #message(statements: readonly string[]): {
    readonly text: string;
    obstacleIn(results: readonly StatementResult[]): Error | undefined;
  } {
    const { last, isBegun } = this.#work;
    const opening = isBegun ? [] : this.#opening();
    this.#work.beginsElsewhere();
    const kept = last === undefined ? [] : [last.message];
    return {
      text: [...opening, ...kept, ...statements].join('; '),
      obstacleIn: (results) => last?.obstacleIn(results.slice(opening.length, -statements.length)),
    };
  }

  commit(options?: ParticipantCallOptions): Promise<void> {
    return this.#life.finish('commit', options);
  }

  abort(options?: ParticipantCallOptions): Promise<void> {
    return this.#life.abort(options);
  }

  async commitOnePhase(options?: ParticipantCallOptions): Promise<OnePhaseOutcome> {
    this.#life.leaveActive('commit');
    using signal = this.#life.scope([sourceOf(options), this.#source]);
    const obstacle = await this.#obstacle(signal);
    if (obstacle !== undefined) return this.#abortedOnePhase(obstacle, signal);
    if (this.#isUntouched) {
      this.#life.end('release');
      return { state: 'committed' };
    }
    let xid: string | undefined;
    try {
      // Asked before COMMIT, because with a lost reply it would be lost too.
      xid = await this.#sendLast(signal);
    } catch (error) {
      return this.#abortedOnePhase(this.#work.firstError ?? error, signal);
    }
    try {
      const [ended] = await this.#run('commit', signal);
      if (ended?.command !== 'COMMIT') return this.#abortedOnePhase(this.#failure(), signal);
      this.#life.end('release');
      return { state: 'committed' };
    } catch (error) {
      if (sqlState(error) !== undefined && (await this.#rollBack(signal))) {
        return { state: 'aborted', reason: messageOf(error), cause: error };
      }
      this.#life.end('destroy');
      return this.#resolveOnePhase(xid, error, options);
    }
  }

  /** As the last resource: the decision is a row that this commit makes true, or not. */
  async commitLast(
    decide: (run: RunWithin) => Promise<WithinAnswer>,
    options?: ParticipantCallOptions,
  ): Promise<LastResourceOutcome> {
    this.#life.leaveActive('commit');
    using signal = this.#life.scope([sourceOf(options), this.#source]);
    const outcome = await commitLast({
      participant: this.#host.name,
      obstacle: (await this.#obstacle(signal)) ?? (await this.#lastObstacle(signal)),
      decide: () =>
        decide(async (text) => {
          const results = await this.#run(`${text}; ${CURRENT_XID}`, signal);
          this.#life.evidence = evidenceOf(xidIn(results.at(-1)) ?? '');
          return results.slice(0, -1);
        }),
      commit: async () => (await this.#run('commit', signal))[0]?.command,
      rollBack: () => this.#rollBack(signal),
      failure: (error) => this.#work.firstError ?? error,
    });
    if (outcome.state === 'committed') this.#life.end('release');
    if (outcome.state !== 'unknown') return outcome;
    this.#life.end('destroy');
    return { ...outcome, evidence: this.#life.evidence };
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
    using scope = this.#life.scope([sourceOf(options)]);
    const status = await this.#host.settledStatus(evidence, scope.signal).catch(() => 'unknown');
    if (status === 'committed') return { state: 'committed' };
    if (status === 'aborted') return { state: 'aborted', reason: messageOf(cause), cause };
    return { state: 'unknown', evidence, cause };
  }

  async #abortedOnePhase(cause: unknown, signal: AbortSource): Promise<OnePhaseOutcome> {
    await this.#rollBack(signal);
    return { state: 'aborted', reason: messageOf(cause), cause };
  }

  /** Phase two on the connection that prepared. */
  #finish(operation: 'commit' | 'abort', signal: AbortSource): Promise<void> {
    const { name, backend, clock } = this.#host;
    const run = (text: string): Promise<readonly StatementResult[]> => this.#run(text, signal);
    const act = operation === 'commit' ? commitPrepared : rollbackPrepared;
    return act({ participant: name, backend, clock, signal, run }, this.#life.record());
  }

  /** Whether the server answered that nothing is open on the connection any more; ends the branch. */
  async #rollBack(signal: AbortSource): Promise<boolean> {
    try {
      if (this.#work.isBegun) await this.#run('rollback', signal);
      await this.#work.last?.tidy((text) => this.#run(text, signal));
      this.#life.end('release');
      return true;
    } catch {
      this.#life.end('destroy');
      return false;
    }
  }

  async #no(cause: unknown, signal: AbortSource): Promise<Vote> {
    await this.#rollBack(signal);
    return noVote(cause);
  }

  #failure(): unknown {
    return this.#work.firstError ?? new Error('the transaction had failed before its end');
  }

  #run(text: string, signal: AbortSource): Promise<readonly StatementResult[]> {
    return this.#connection.run(text, signal);
  }
}

function noVote(cause: unknown): Vote {
  return { vote: 'no', reason: messageOf(cause), cause };
}

function xidIn(result: StatementResult | undefined): string | undefined {
  const xid = result?.rows[0]?.xid;
  return typeof xid === 'string' ? xid : undefined;
}
