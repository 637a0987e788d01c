/** The version of the barrier's table; a newer one is refused with UPGRADE_NEEDED. */
export const BARRIER_VERSION = 1;
/** The row of `versions` that is about the barrier. */
export const BARRIER_PART = 'barrier';

/** The name of the barrier's table in a schema that was checked. */
export function barrierTable(schema: string): string {
  return `"${schema}".barrier`;
}

/** The part of `setupSql` that makes the barrier's table; `versions` is the table of versions. */
export function barrierSetupSql(schema: string, versions: string): string {
  const barrier = barrierTable(schema);
  return `create table if not exists ${barrier} (
  participant text not null,
  branch_id text not null,
  state text not null,
  payload text not null,
  noted_at timestamptz not null,
  primary key (participant, branch_id)
);
create index if not exists barrier_age on ${barrier} (participant, state, noted_at);
insert into ${versions} as known (part, version) values ('${BARRIER_PART}', ${BARRIER_VERSION})
  on conflict (part) do update set version = excluded.version
  where known.version < excluded.version;
`;
}
