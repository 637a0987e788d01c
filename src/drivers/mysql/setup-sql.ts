/** The version of the tables; a newer one is refused with UPGRADE_NEEDED. */
export const TABLES_VERSION = 1;
/** The row of `tricord_versions` that is about branches. */
export const BRANCHES_PART = 'branches';
/** The table of evidence, in the database that the pool is connected to. */
export const BRANCHES_TABLE = 'tricord_branches';
/** The table of a barrier's marks. */
export const BARRIER_TABLE = 'tricord_barrier';
/** The version of the table of sites; a newer one is refused with UPGRADE_NEEDED. */
export const SITES_VERSION = 1;
/** The row of `tricord_versions` that is about sites. */
export const SITES_PART = 'sites';
/** The table of the records of sites. */
export const SITES_TABLE = 'tricord_sites';
/** The table of versions. */
export const VERSIONS_TABLE = 'tricord_versions';

/**
 * The SQL that creates the tables of {@link mysqlParticipant}, {@link mysqlBarrier} and
 * {@link mysqlSiteStorage} in the current database: run it once, with your migrations or with the `mariadb` or `mysql` command; a `mysql2` connection takes all of it
 * at once with `multipleStatements`. tricord itself creates nothing.
 *
 * It may be run again, and by a newer release over the tables of an older one; it never takes anything
 * away. CREATE TABLE commits by itself, so run it outside of transactions.
 *
 * The account of the service needs no more than
 * `grant select on shop.tricord_versions to 'service'@'%';
 * grant select, insert, update, delete on shop.tricord_branches to 'service'@'%'`, and on MySQL
 * `grant xa_recover_admin on *.* to 'service'@'%'`; for a barrier the same four on
 * `shop.tricord_barrier`, for a site on `shop.tricord_sites`.
 */
export function setupSql(): string {
  return `
create table if not exists ${VERSIONS_TABLE} (
  part varchar(32) character set ascii collate ascii_bin not null primary key,
  version int not null
) engine=InnoDB;
create table if not exists ${BRANCHES_TABLE} (
  participant varchar(64) character set ascii collate ascii_bin not null,
  branch_id varchar(64) character set ascii collate ascii_bin not null,
  state enum('committed', 'aborted') not null,
  connection_id bigint unsigned not null,
  noted_at datetime(6) not null,
  primary key (participant, branch_id),
  key noted_at (noted_at)
) engine=InnoDB;
create table if not exists ${BARRIER_TABLE} (
  participant varchar(64) character set ascii collate ascii_bin not null,
  branch_id varchar(64) character set ascii collate ascii_bin not null,
  state enum('prepared', 'committed', 'aborted') not null,
  payload longtext character set utf8mb4 not null,
  noted_at datetime(6) not null,
  primary key (participant, branch_id),
  key age (participant, state, noted_at)
) engine=InnoDB;
create table if not exists ${SITES_TABLE} (
  namespace varchar(16) character set ascii collate ascii_bin not null,
  site varchar(64) character set ascii collate ascii_bin not null,
  transaction_id varchar(64) character set ascii collate ascii_bin not null,
  version bigint unsigned not null,
  record mediumtext character set utf8mb4 collate utf8mb4_bin not null,
  written_at datetime(6) not null,
  primary key (namespace, site, transaction_id)
) engine=InnoDB;
insert into ${VERSIONS_TABLE} (part, version)
  values ('${BRANCHES_PART}', ${TABLES_VERSION}), ('${SITES_PART}', ${SITES_VERSION})
  on duplicate key update version = greatest(version, values(version));
`.trimStart();
}
