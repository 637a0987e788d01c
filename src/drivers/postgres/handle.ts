import { type Deferred, deferred } from '../../core/deferred.js';
import { CoordinationError } from '../../core/errors.js';
import { invalidArgument } from '../../core/validate.js';
import {
  type PostgresBranchClient,
  type PostgresPool,
  type PostgresPoolClient,
  statementResults,
} from './client.js';
import { type LastStatement, lastStatement } from './last-statement.js';
import { endingCommand, mayNotify, mayWrite, transactionControl } from './statement.js';

/** What is known of a branch's work, from what went over its client. */
export interface BranchWork {
  /** The client that the transaction's body gets. */
  readonly handle: PostgresBranchClient<PostgresPool>;
  /** How the user ended the branch from inside, if so. */
  readonly tampered: CoordinationError<'BRANCH_TAMPERED'> | undefined;
  /** The first error of a statement: why the branch failed, if PREPARE says that it has. */
  readonly firstError: unknown;
  /** Whether a statement may have written, as far as its command tag tells. */
  readonly mayHaveWritten: boolean;
  /** Whether a statement may have used LISTEN or NOTIFY. */
  readonly mayHaveNotified: boolean;
  /** Whether BEGIN was sent, or stands in a message that will be. */
  readonly isBegun: boolean;
  /** Whoever ends the branch sends BEGIN in a message of his own. */
  beginsElsewhere(): void;
  /** The statement that is kept back for the end, if the body said so. */
  readonly last: LastStatement | undefined;
  /** Refuses further statements with what `refusal` makes. */
  close(refusal: () => unknown): void;
  /** Whether no statement is under way. */
  readonly isIdle: boolean;
  /** Resolves when no statement is under way any more. */
  idle(): Promise<void>;
}

/** What `pg` takes: a text or a config, values, and a callback last, if at all. */
type QueryParameters = readonly unknown[];
type Callback = (error: unknown, result?: unknown) => void;

/**
 * Wraps a client for the body of a transaction. With `begin` the transaction is still to begin: before
 * the first statement, and only if there is one.
 */
export function branchWork(
  participant: string,
  client: PostgresPoolClient,
  begin?: () => Promise<unknown>,
): BranchWork {
  return new Work(participant, client, begin);
}

/** A class, because every branch of every transaction has one. */
class Work implements BranchWork {
  readonly #participant: string;
  readonly #client: PostgresPoolClient;
  readonly #begin: (() => Promise<unknown>) | undefined;
  readonly handle: PostgresBranchClient<PostgresPool>;
  tampered: CoordinationError<'BRANCH_TAMPERED'> | undefined = undefined;
  firstError: unknown = undefined;
  mayHaveWritten = false;
  mayHaveNotified = false;
  last: LastStatement | undefined = undefined;
  #isOpen: boolean;
  #beginning: Promise<unknown> | undefined = undefined;
  #refusal: (() => unknown) | undefined = undefined;
  #underWay = 0;
  #waiting: Deferred<void> | undefined = undefined;

  constructor(
    participant: string,
    client: PostgresPoolClient,
    begin: (() => Promise<unknown>) | undefined,
  ) {
    this.#participant = participant;
    this.#client = client;
    this.#begin = begin;
    this.#isOpen = begin === undefined;
    const query = (...parameters: QueryParameters): unknown => this.#query(parameters);
    const last: PostgresBranchClient['last'] = (text, values, options) =>
      this.#keep(text, values, options);
    // `release` is not in the type; whoever casts his way to it learns why it is not.
    const release = (): never => this.#refuseRelease();
    this.handle = { query, last, release } as PostgresBranchClient<PostgresPool>;
  }

  get isBegun(): boolean {
    return this.#isOpen || this.#beginning !== undefined;
  }

  beginsElsewhere(): void {
    this.#isOpen = true;
  }

  close(refusal: () => unknown): void {
    this.#refusal ??= refusal;
  }

  get isIdle(): boolean {
    return this.#underWay === 0;
  }

  async idle(): Promise<void> {
    while (this.#underWay > 0) {
      this.#waiting ??= deferred();
      await this.#waiting.promise;
    }
  }

  #query(parameters: QueryParameters): unknown {
    if (isSubmittable(parameters[0])) {
      this.#admit(textOf(parameters[0]));
      this.mayHaveWritten = true;
      return this.#isOpen ? this.#send(parameters) : this.#submitLater(parameters);
    }
    const last = parameters.at(-1);
    if (typeof last !== 'function') return this.#run(parameters);
    answerTo(last as Callback, this.#run(parameters.slice(0, -1)));
    return undefined;
  }

  async #run(parameters: QueryParameters): Promise<unknown> {
    this.#admit(textOf(parameters[0]));
    this.#underWay += 1;
    try {
      if (!this.#isOpen) await this.#open();
      const answer = await this.#send(parameters);
      this.#note(answer);
      return answer;
    } catch (error) {
      this.firstError ??= error;
      throw error;
    } finally {
      this.#over();
    }
  }

  #send(parameters: QueryParameters): unknown {
    const client = this.#client as { query(...parameters: QueryParameters): unknown };
    return client.query(...parameters);
  }

  #over(): void {
    this.#underWay -= 1;
    if (this.#underWay > 0) return;
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  #open(): Promise<unknown> {
    this.#beginning ??= Promise.resolve(this.#begin?.()).then(() => {
      this.#isOpen = true;
    });
    return this.#beginning;
  }

  /** What is submitted without BEGIN would be outside of any transaction. */
  #submitLater(parameters: QueryParameters): unknown {
    const [submittable] = parameters;
    this.#underWay += 1;
    const opening = this.#open();
    const over = (): void => this.#over();
    opening.then(over, over);
    opening.then(
      () => this.#send(parameters),
      (error) => isSubmittable(submittable) && submittable.handleError?.(error),
    );
    return submittable;
  }

  #keep(...[text, values, options]: Parameters<PostgresBranchClient['last']>): void {
    this.#admit(textOf(text));
    const tamper = (statement: string): Error => this.#tamper(statement);
    this.last = lastStatement(text, values, { ...options, tamper });
    this.mayHaveWritten = true;
  }

  #admit(text: string): void {
    if (this.#refusal !== undefined) throw this.#refusal();
    if (this.last !== undefined) throw invalidArgument('text', text, 'nothing after last()');
    const control = transactionControl(text);
    if (control !== undefined) throw this.#tamper(control);
    this.mayHaveNotified ||= mayNotify(text);
  }

  #note(answer: unknown): void {
    const tags = statementResults(answer).map(({ command }) => command);
    this.mayHaveWritten ||= tags.some(mayWrite);
    const ending = endingCommand(tags, this.#client.getTransactionStatus?.() === 'I');
    if (ending !== undefined) throw this.#tamper(ending);
  }

  #tamper(statement: string): CoordinationError<'BRANCH_TAMPERED'> {
    this.tampered ??= tamperedError(this.#participant, statement);
    return this.tampered;
  }

  #refuseRelease(): never {
    throw this.#tamper('release()');
  }
}

function textOf(config: unknown): string {
  if (typeof config === 'string') return config;
  const text = (config as { readonly text?: unknown } | null | undefined)?.text;
  return typeof text === 'string' ? text : '';
}

/** Cursors and streams are not answered by a promise: they submit themselves to the connection. */
interface Submittable {
  readonly submit: unknown;
  handleError?(error: unknown): void;
}

function isSubmittable(config: unknown): config is Submittable {
  return typeof (config as Submittable | null | undefined)?.submit === 'function';
}

/** As in `pg`, an error that the callback throws is the program's, outside any promise. */
function answerTo(callback: Callback, work: Promise<unknown>): void {
  work.then(
    (result) => process.nextTick(callback, undefined, result),
    (error) => process.nextTick(callback, error),
  );
}

function tamperedError(
  participant: string,
  statement: string,
): CoordinationError<'BRANCH_TAMPERED'> {
  return new CoordinationError(
    'BRANCH_TAMPERED',
    `${statement} inside the branch of postgres "${participant}": the branch ends with its ` +
      'transaction; leave COMMIT, ROLLBACK and release() to the coordinator, and use SAVEPOINT for a part',
    { participant, statement },
  );
}
