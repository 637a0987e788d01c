import type { Flavour } from './settings.js';

/** The largest that both servers take for each of them, in seconds. */
const SECONDS_MAX = 31_536_000;

/**
 * Bounds a session: a killed client's connection would wait on in a row lock or sit on its locks for
 * hours, and so would two transactions that wait for each other on two servers. No statement of the
 * branch, wait for a lock or pause outlives the transaction's time by more than a second; a shorter
 * limit of the service itself stays. The session's own values are kept in it, for `restoreSql`.
 *
 * `wait_timeout` also ends the connection of a branch that is prepared and left: only then may others
 * finish it, on MariaDB. It has a second more, for the owner's own phase two.
 */
export function deadlineSql(flavour: Flavour, timeoutMs: number): string {
  const seconds = Math.min(Math.max(Math.ceil(timeoutMs / 1_000), 1), SECONDS_MAX);
  const statement = statementLimit(flavour);
  const own = `@@session.${statement.name}`;
  const limit = statement.of(Math.max(timeoutMs, 1));
  return `set ${[
    '@tricord_row_lock = @@session.innodb_lock_wait_timeout',
    '@tricord_table_lock = @@session.lock_wait_timeout',
    '@tricord_wait = @@session.wait_timeout',
    `@tricord_statement = ${own}`,
    `session innodb_lock_wait_timeout = least(@@session.innodb_lock_wait_timeout, ${seconds})`,
    `session lock_wait_timeout = least(@@session.lock_wait_timeout, ${seconds})`,
    `session wait_timeout = least(@@session.wait_timeout, ${seconds + 1})`,
    `session ${statement.name} = if(${own} = 0, ${limit}, least(${own}, ${limit}))`,
  ].join(', ')}`;
}

/** Gives the session its own values back, before others get the connection. */
export function restoreSql(flavour: Flavour): string {
  return `set ${[
    'session innodb_lock_wait_timeout = @tricord_row_lock',
    'session lock_wait_timeout = @tricord_table_lock',
    'session wait_timeout = @tricord_wait',
    `session ${statementLimit(flavour).name} = @tricord_statement`,
  ].join(', ')}`;
}

/** One statement with a short wait for row locks; each server has its own way to say so. */
export function impatiently(flavour: Flavour, verb: 'select' | 'insert', rest: string): string {
  return flavour === 'mariadb'
    ? `set statement innodb_lock_wait_timeout = 1 for ${verb} ${rest}`
    : `${verb} /*+ SET_VAR(innodb_lock_wait_timeout = 1) */ ${rest}`;
}

/** MariaDB counts seconds with fractions and bounds every statement, MySQL milliseconds of SELECTs. */
function statementLimit(flavour: Flavour): { name: string; of: (ms: number) => string } {
  const secondsMax = SECONDS_MAX;
  return flavour === 'mariadb'
    ? {
        name: 'max_statement_time',
        of: (ms) => Math.min(ms / 1_000, secondsMax).toFixed(3),
      }
    : {
        name: 'max_execution_time',
        of: (ms) => String(Math.min(Math.ceil(ms), 2 ** 32 - 1)),
      };
}
