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
  const underWay = new Set<Promise<unknown>>();
  let tampered: CoordinationError<'BRANCH_TAMPERED'> | undefined;
  let firstError: unknown;
  let mayHaveWritten = false;
  let mayHaveNotified = false;
  let refusal: (() => unknown) | undefined;
  let kept: LastStatement | undefined;
  let isOpen = begin === undefined;
  let beginning: Promise<unknown> | undefined;

  const opened = (): void => {
    isOpen = true;
  };
  const open = (): Promise<unknown> => {
    beginning ??= Promise.resolve(begin?.()).then(opened);
    return beginning;
  };
  const tamper = (statement: string): CoordinationError<'BRANCH_TAMPERED'> => {
    tampered ??= tamperedError(participant, statement);
    return tampered;
  };
  const admit = (text: string): void => {
    if (refusal !== undefined) throw refusal();
    if (kept !== undefined) throw invalidArgument('text', text, 'nothing after last()');
    const control = transactionControl(text);
    if (control !== undefined) throw tamper(control);
    mayHaveNotified ||= mayNotify(text);
  };
  const note = (answer: unknown): void => {
    const tags = statementResults(answer).map(({ command }) => command);
    mayHaveWritten ||= tags.some(mayWrite);
    const ending = endingCommand(tags, client.getTransactionStatus?.() === 'I');
    if (ending !== undefined) throw tamper(ending);
  };
  const send = client.query.bind(client) as (...parameters: QueryParameters) => unknown;
  const run = async (parameters: QueryParameters): Promise<unknown> => {
    admit(textOf(parameters[0]));
    try {
      if (!isOpen) await open();
      const answer = await send(...parameters);
      note(answer);
      return answer;
    } catch (error) {
      firstError ??= error;
      throw error;
    }
  };
  const track = <T>(work: Promise<T>): Promise<T> => {
    underWay.add(work);
    const done = (): void => {
      underWay.delete(work);
    };
    work.then(done, done);
    return work;
  };
  /** What is submitted without BEGIN would be outside of any transaction. */
  const submitLater = (parameters: QueryParameters): unknown => {
    const [submittable] = parameters;
    track(open()).then(
      () => send(...parameters),
      (error) => isSubmittable(submittable) && submittable.handleError?.(error),
    );
    return submittable;
  };
  const query = (...parameters: QueryParameters): unknown => {
    if (isSubmittable(parameters[0])) {
      admit(textOf(parameters[0]));
      mayHaveWritten = true;
      return isOpen ? send(...parameters) : submitLater(parameters);
    }
    const last = parameters.at(-1);
    if (typeof last !== 'function') return track(run(parameters));
    answerTo(last as Callback, track(run(parameters.slice(0, -1))));
    return undefined;
  };
  const last: PostgresBranchClient['last'] = (text, values, options) => {
    admit(textOf(text));
    kept = lastStatement(text, values, { ...options, tamper });
    mayHaveWritten = true;
  };
  const refuseRelease = (): never => {
    throw tamper('release()');
  };
  return {
    // `release` is not in the type; whoever casts his way to it learns why it is not.
    handle: Object.assign({ query, last }, { release: refuseRelease }),
    get tampered() {
      return tampered;
    },
    get firstError() {
      return firstError;
    },
    get mayHaveWritten() {
      return mayHaveWritten;
    },
    get mayHaveNotified() {
      return mayHaveNotified;
    },
    get isBegun() {
      return isOpen || beginning !== undefined;
    },
    beginsElsewhere() {
      isOpen = true;
    },
    get last() {
      return kept;
    },
    close(makeRefusal) {
      refusal ??= makeRefusal;
    },
    get isIdle() {
      return underWay.size === 0;
    },
    async idle() {
      while (underWay.size > 0) await Promise.allSettled(underWay);
    },
  };
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
