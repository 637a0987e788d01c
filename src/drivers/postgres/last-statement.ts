import { assertNumber, invalidArgument } from '../../core/validate.js';
import type { StatementResult } from './client.js';
import { sqlState } from './errors.js';
import { literalText, type PostgresLiteral } from './literal.js';

/** Options of `last`. */
export interface LastStatementOptions {
  /** The statement must have met so many rows, else the branch votes no. By default it may be any. */
  readonly rows?: number | undefined;
}

/** A statement that is kept back, to be sent in one message with what ends the branch. */
export interface LastStatement {
  /** What stands in front of that message. */
  readonly message: string;
  /** What its results, in the order of the message, make impossible; undefined for nothing. */
  obstacleIn(results: readonly StatementResult[]): Error | undefined;
  /** After a failure: takes away what the message may have left in the session. */
  tidy(run: (text: string) => Promise<unknown>): Promise<void>;
}

/** A name in the session for as long as one message takes. */
const NAME = 'tricord_last';
/** A COMMIT among them would let PREPARE succeed on nothing, with the work committed beside it. */
const ENDING: ReadonlySet<string> = new Set(['COMMIT', 'ROLLBACK', 'BEGIN', 'START']);
/** What the message adds around the statement itself. */
const AROUND: ReadonlySet<string> = new Set(['PREPARE', 'DEALLOCATE']);

/** Makes the error for a command that ended the branch from inside. */
type Tamper = (statement: string) => Error;

/**
 * Values travel as literals of a prepared statement of SQL itself, because a message of several
 * statements takes no parameters: the server, not we, finds the `$1` in the text.
 */
export function lastStatement(
  text: string,
  values: readonly PostgresLiteral[] = [],
  { rows, tamper }: LastStatementOptions & { readonly tamper?: Tamper | undefined } = {},
): LastStatement {
  if (typeof text !== 'string') throw invalidArgument('text', text, 'the text of one statement');
  if (rows !== undefined) assertNumber('rows', rows, { min: 0, integer: true });
  const statement = text.replace(/[\s;]+$/, '');
  const literals = values.map((value, index) => literalText(`values[${index}]`, value));
  const hasValues = literals.length > 0;
  // A comment at the end of the text must not swallow what follows it.
  const message = hasValues
    ? `prepare ${NAME} as ${statement}\n; execute ${NAME}(${literals.join(', ')}); deallocate ${NAME}`
    : `${statement}\n`;
  return {
    message,
    obstacleIn(results) {
      const ending = results.find(({ command }) => ENDING.has(command));
      if (ending !== undefined) {
        return tamper?.(ending.command) ?? new Error(`${ending.command} in the last statement`);
      }
      const own = results.findLast(({ command }) => !AROUND.has(command));
      if (rows === undefined || own?.rowCount === rows) return undefined;
      return new Error(`the last statement met ${own?.rowCount ?? 'no'} rows, not ${rows}`);
    },
    async tidy(run) {
      if (!hasValues) return;
      try {
        await run(`deallocate ${NAME}`);
      } catch (error) {
        // It is not there: the message failed before or after it.
        if (sqlState(error) === undefined) throw error;
      }
    },
  };
}
