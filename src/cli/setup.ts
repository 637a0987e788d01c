import { invalidArgument } from '../core/validate.js';
import { setupSql as mysqlSetupSql } from '../drivers/mysql/setup-sql.js';
import { postgresFence } from '../drivers/postgres/fence.js';
import { setupSql as postgresSetupSql } from '../drivers/postgres/setup-sql.js';

/** Which tables to print. */
export interface SetupChoice {
  readonly database?: string | undefined;
  readonly schema?: string | undefined;
}

const TEXTS = {
  postgres: (schema: string | undefined): string =>
    [
      '-- PostgreSQL: decision log, transaction keys and barriers. Run it as the owner of the tables.',
      postgresSetupSql({ schema }),
      '-- PostgreSQL: fences, in the databases whose writes are fenced.',
      `${postgresFence().setupSql()};`,
    ].join('\n'),
  mysql: (): string =>
    [
      '-- MariaDB and MySQL: evidence of branches, in each database that takes part.',
      mysqlSetupSql(),
    ].join('\n'),
};

/** The SQL of every table that tricord needs; it may be run again, also over an older version's. */
export function setupText({ database, schema }: SetupChoice): string {
  if (database === 'postgres') return `${TEXTS.postgres(schema).trimEnd()}\n`;
  if (database === 'mysql') return `${TEXTS.mysql().trimEnd()}\n`;
  if (database === undefined) return `${TEXTS.postgres(schema)}\n${TEXTS.mysql()}`;
  throw invalidArgument('database', database, 'postgres or mysql');
}
