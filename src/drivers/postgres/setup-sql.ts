import { invalidArgument } from '../../core/validate.js';
import { barrierSetupSql } from './setup-barrier.js';
import { sitesSetupSql } from './setup-sites.js';

/** Options of {@link setupSql}. */
export interface SetupSqlOptions {
  /**
   * The schema that holds the tables: 1 to 63 of `[a-z0-9_]`, not beginning with a digit or `pg_`.
   * Default `tricord`.
   */
  readonly schema?: string | undefined;
}

/** The version of the tables of the decision log; a newer one is refused with UPGRADE_NEEDED. */
export const TABLES_VERSION = 2;
/** The row of `versions` that is about the decision log. */
export const TABLES_PART = 'transactions';
/** The schema that is used when none was given. */
export const SCHEMA_DEFAULT = 'tricord';

/** The tables of one schema, as they stand in statements. */
export interface LogTables {
  readonly versions: string;
  readonly incarnations: string;
  readonly heartbeats: string;
  readonly decisions: string;
  readonly keys: string;
}

/** Setups of one database wait for each other: `create … if not exists` alone may collide. */
const SETUP_LOCK = 8_421_967;

/**
 * The SQL that creates the tables of {@link postgresTransactions} and {@link postgresBarrier}: run it once, as the role that is to
 * own them, with your migrations or with `psql`. tricord itself creates nothing.
 *
 * The text holds several statements and no BEGIN or COMMIT. It may be run again, also by several at a
 * time, and by a newer release over the tables of an older one; it never takes anything away, and
 * leaves tables of a newer release alone.
 *
 * The role of the service needs no more than
 * `grant usage on schema tricord to service; grant select on tricord.versions to service;
 * grant select, insert, update, delete on tricord.incarnations, tricord.heartbeats,
 * tricord.decisions, tricord.keys to service`, and for a barrier
 * `grant select, insert, update, delete on tricord.barrier to service`; for
 * {@link postgresSiteStorage} the same on `tricord.sites`.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed schema.
 */
export function setupSql(options: SetupSqlOptions = {}): string {
  const { schema = SCHEMA_DEFAULT } = options;
  const { versions, incarnations, heartbeats, decisions, keys } = logTables(schema);
  return `
select pg_advisory_xact_lock(${SETUP_LOCK});
create schema if not exists "${schema}";
create table if not exists ${versions} (
  part text primary key,
  version integer not null
);
create table if not exists ${incarnations} (
  namespace text not null,
  incarnation text not null,
  node text,
  registered_at timestamptz not null default clock_timestamp(),
  fenced_at timestamptz,
  retired_at timestamptz,
  primary key (namespace, incarnation)
);
create table if not exists ${heartbeats} (
  namespace text not null,
  incarnation text not null,
  heard_at timestamptz not null,
  primary key (namespace, incarnation)
);
create table if not exists ${decisions} (
  namespace text not null,
  transaction_id text not null,
  incarnation text not null,
  format integer not null,
  record text not null,
  unacknowledged text[] not null,
  decided_at timestamptz not null,
  acknowledged_at timestamptz,
  primary key (namespace, transaction_id)
);
alter table ${decisions} add column if not exists is_abort boolean not null default false;
create table if not exists ${keys} (
  namespace text not null,
  key_digest text not null,
  transaction_id text not null,
  reserved_at timestamptz not null,
  committed_at timestamptz,
  primary key (namespace, key_digest)
);
create index if not exists keys_age on ${keys} (namespace, reserved_at);
create index if not exists decisions_open on ${decisions}
  (namespace, incarnation, decided_at) where acknowledged_at is null;
create index if not exists decisions_done on ${decisions}
  (namespace, acknowledged_at) where acknowledged_at is not null;
insert into ${versions} as known (part, version) values ('${TABLES_PART}', ${TABLES_VERSION})
  on conflict (part) do update set version = excluded.version
  where known.version < excluded.version;
${barrierSetupSql(schema, versions)}${sitesSetupSql(schema, versions)}`.trimStart();
}

/** The names of the tables. Throws a TypeError (INVALID_ARGUMENT) for an ill-formed schema. */
export function logTables(schema: string): LogTables {
  if (typeof schema !== 'string' || !/^(?!pg_)[a-z_][a-z0-9_]{0,62}$/.test(schema)) {
    const remedy = '1 to 63 characters of [a-z0-9_], not beginning with a digit or pg_';
    throw invalidArgument('schema', schema, remedy);
  }
  const table = (name: string): string => `"${schema}".${name}`;
  return {
    versions: table('versions'),
    incarnations: table('incarnations'),
    heartbeats: table('heartbeats'),
    decisions: table('decisions'),
    keys: table('keys'),
  };
}
