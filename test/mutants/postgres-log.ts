import type { Mutant } from './mutant.js';

const contract = {
  project: 'contract',
  file: 'test/contract/decision-log-postgres.test.ts',
} as const;
const faults = { project: 'fault', file: 'test/fault/postgres-log.test.ts' } as const;
const statements = 'src/drivers/postgres/decision-log-statements.ts';
const store = 'src/drivers/postgres/decision-log-store.ts';

export const mutants: readonly Mutant[] = [
  {
    id: 'postgres-log-reads-every-record-for-one-decision',
    file: statements,
    find: 'where (select true from ${decisions} as known where known.namespace = ${space}\n        and known.transaction_id = given.transaction_id) is null',
    replace:
      'where not exists (select true from ${decisions} as known where known.namespace = ${space}\n        and known.transaction_id = given.transaction_id)',
    tests: { ...faults, name: 'however many records are kept' },
    why: 'Records stay for a day: each decision would take longer than the one before.',
  },
  {
    id: 'postgres-log-trusts-that-sessions-keep-their-plans',
    file: store,
    find: "state !== '26000' && state !== '42P05'",
    replace: "state !== '42P05'",
    tests: { ...faults, name: 'a session that forgets its plans' },
    why: 'Behind a pooler, or after DISCARD ALL, the log would refuse every decision.',
  },
  {
    id: 'postgres-log-trips-over-a-plan-that-is-there',
    file: store,
    find: "state !== '26000' && state !== '42P05'",
    replace: "state !== '26000'",
    tests: { ...faults, name: 'a session that forgets its plans' },
    why: 'Behind a pooler two processes share sessions, and one of them could not decide.',
  },
  {
    id: 'postgres-log-decides-without-the-row-of-the-incarnation',
    file: statements,
    find: '      for share\n',
    replace: '',
    tests: { ...faults, name: 'a fence waits for a decision in work' },
    why: 'A recoverer would fence, find no record and abort what is committed a moment later.',
  },
  {
    id: 'postgres-log-takes-a-lock-that-lets-fences-through',
    file: statements,
    find: '      for share\n',
    replace: '      for key share\n',
    tests: { ...faults, name: 'a fence waits for a decision in work' },
    why: 'An update of no key column does not wait for FOR KEY SHARE.',
  },
  {
    id: 'postgres-log-fenced-incarnation-decides',
    file: statements,
    find: '        and fenced_at is null and node is not null\n      for share',
    replace: '        and node is not null\n      for share',
    tests: { ...contract, name: 'a fenced incarnation decides no more' },
    why: 'A paused owner that wakes would commit what a recoverer has rolled back.',
  },
  {
    id: 'postgres-log-decision-sent-again-is-fenced',
    file: statements,
    find: 'case (select known.is_abort from ${decisions} as known\n        where',
    replace:
      'case (select known.is_abort from ${decisions} as known\n        where known.decided_at >= now() and',
    tests: { ...contract, name: 'a fence undoes no decision' },
    why: 'After a lost reply a committed transaction would be told as aborted.',
  },
  {
    id: 'postgres-log-decision-is-not-waited-for',
    file: store,
    find: "      set_config('synchronous_commit', ${isLazy ? \"'off'\" : DURABLE}, true),",
    replace:
      "      set_config('synchronous_commit', ${isLazy ? \"'off'\" : DURABLE && 'current_setting(\\'synchronous_commit\\')'}, true),",
    tests: { ...faults, name: 'an acknowledged decision survives SIGKILL' },
    why: 'With synchronous_commit off a crash would forget decisions that were acted on.',
  },
  {
    id: 'postgres-log-joins-the-transaction-of-someone-else',
    file: store,
    find: '    if (facts?.rows[0]?.is_alone !== true) {',
    replace: '    if (facts === undefined) {',
    tests: { ...faults, name: 'a connection that someone left inside a transaction' },
    why: 'The decision would be told as committed and end with somebody else’s rollback.',
  },
  {
    id: 'postgres-log-first-acknowledgement-ends-the-record',
    file: statements,
    find: '        when known.unacknowledged <@ given.names then clock_timestamp() end',
    replace: '        when known.unacknowledged && given.names then clock_timestamp() end',
    tests: { ...contract, name: 'until its last participant has acknowledged' },
    why: 'Nobody would repeat the commit of the participant that did not answer.',
  },
  {
    id: 'postgres-log-forgets-what-is-not-acknowledged',
    file: statements,
    find: '    `delete from ${decisions} where ${some(decisions, `acknowledged_at < ${before}`)}`,',
    replace: '    `delete from ${decisions} where ${some(decisions, `decided_at < ${before}`)}`,',
    tests: { ...faults, name: 'acknowledged records go after their retention' },
    why: 'A participant that is down for a day would abort what the others committed.',
  },
  {
    id: 'postgres-log-fences-only-what-was-registered',
    file: statements,
    find: '        values (${space}, ${literal(name)}, clock_timestamp())\n        on conflict',
    replace:
      '        select ${space}, ${literal(name)}, clock_timestamp() where false\n        on conflict',
    tests: { ...contract, name: 'fenced before it registered' },
    why: 'A process that registers late would decide after its recovery.',
  },
  {
    id: 'postgres-log-late-registration-lifts-the-fence',
    file: statements,
    find: 'do update set node = excluded.node\n        where known.fenced_at is null',
    replace: 'do update set node = excluded.node, fenced_at = null',
    tests: { ...contract, name: 'fenced before it registered' },
    why: 'A fence must hold for every copy of a registration that is still under way.',
  },
  {
    id: 'postgres-log-unsafe-fsync-is-accepted',
    file: 'src/drivers/postgres/decision-log-guarantees.ts',
    find: "  if (fsync !== 'on') {",
    replace: "  if (fsync === '') {",
    tests: { ...faults, name: 'unsafe settings are refused' },
    why: 'A loss of power would take decisions along, and nobody had been told.',
  },
];
