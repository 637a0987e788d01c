/** The version of the table of sites; a newer one is refused with UPGRADE_NEEDED. */
export const SITES_VERSION = 1;
/** The row of `versions` that is about sites. */
export const SITES_PART = 'sites';

/** The name of the table of sites in a schema that was checked. */
export function sitesTable(schema: string): string {
  return `"${schema}".sites`;
}

/** The part of `setupSql` that makes the table of sites; `versions` is the table of versions. */
export function sitesSetupSql(schema: string, versions: string): string {
  return `create table if not exists ${sitesTable(schema)} (
  namespace text collate "C" not null,
  site text collate "C" not null,
  transaction_id text collate "C" not null,
  version bigint not null,
  record text not null,
  written_at timestamptz not null default clock_timestamp(),
  primary key (namespace, site, transaction_id)
);
insert into ${versions} as known (part, version) values ('${SITES_PART}', ${SITES_VERSION})
  on conflict (part) do update set version = excluded.version
  where known.version < excluded.version;
`;
}
