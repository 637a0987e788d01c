import { createHash } from 'node:crypto';
import { KEY_RESERVE_MS, KEY_RETAIN_MS } from '../../transaction/log-keys.js';
import { type DecisionValues, RECORD_FORMAT } from './decision-log-record.js';
import { type LogTables, TABLES_PART } from './setup-sql.js';

/** One message to the server: statements that together are one transaction. */
export interface LogMessage {
  /** What it does, for errors. */
  readonly operation: string;
  /** Without a transaction's begin and end, which the message itself is. */
  readonly statements: readonly string[];
  /** The same, with the server's plans kept in the session. */
  readonly prepared?: PreparedMessage;
  /** Whether its commit may be lost in a crash: then the server does not wait for its disk. */
  readonly isLazy?: boolean;
}

/** A message whose statements a session prepares once, because to plan them is most of their cost. */
export interface PreparedMessage {
  /** What makes the session know them. */
  readonly declarations: readonly string[];
  /** What runs them. */
  readonly statements: readonly string[];
}

/** Transaction and participant. */
export type AcknowledgedPair = readonly [string, string];

/** The messages of one namespace's log. Each may be sent twice. */
export interface LogStatements {
  /** Answers the version of the tables. */
  readonly version: LogMessage;
  /** Its first statement answers a row, unless the incarnation is fenced. */
  register(incarnation: string, nodeId: string): LogMessage;
  /** Its last statement answers a row, unless the incarnation is fenced or lost. */
  heartbeat(incarnation: string): LogMessage;
  /** Its last statement answers for each decision `id` and `answer`: committed, fenced or full. */
  decide(incarnation: string, limit: number, decisions: readonly DecisionValues[]): LogMessage;
  /**
   * The same inside somebody else's transaction; its last statement answers `id`, `answer` and
   * `is_known`, whether this database knows the incarnation at all.
   */
  decideWithin(incarnation: string, limit: number, decision: DecisionValues): LogMessage;
  /** Its last statement answers `is_abort`: whether it is certain that no decision will be made. */
  settle(incarnation: string, transactionId: string): LogMessage;
  fence(incarnation: string): LogMessage;
  /** Answers the record's row, or none. */
  find(transactionId: string): LogMessage;
  /** Answers incarnation, node (as JSON), fenced, heard_ms and open_count. */
  readonly incarnations: LogMessage;
  /** Answers the rows of the oldest open records. */
  unacknowledged(incarnation: string, limit: number): LogMessage;
  /** Answers the participants that have not acknowledged open records. */
  blockers(incarnation: string): LogMessage;
  acknowledge(pairs: readonly AcknowledgedPair[]): LogMessage;
  prune(retainMs: number, limit: number): LogMessage;
}

/** A text as a literal, whatever `standard_conforming_strings` is. */
export function literal(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/** A `synchronous_commit` that waits for the disk, and for standbys where the session asks for more. */
export const DURABLE: string = `case when current_setting('synchronous_commit') = 'remote_apply'
  then 'remote_apply' else 'on' end`;

/** Whether a key of a transaction is as good as gone; prune deletes it. */
export function isExpiredKey(held: string): string {
  const since = `coalesce(${held}.committed_at, ${held}.reserved_at)`;
  const lastingMs = `case when ${held}.committed_at is null
    then ${KEY_RESERVE_MS} else ${KEY_RETAIN_MS} end`;
  return `${since} < clock_timestamp() - (${lastingMs}) * interval '1 millisecond'`;
}

const textArray = (values: readonly string[]): string =>
  `array[${values.map(literal).join(', ')}]::text[]`;
const ageMs = (column: string): string =>
  `(extract(epoch from clock_timestamp() - ${column}) * 1000)::text`;
const RECORD_COLUMNS =
  "transaction_id, format, record, array_to_string(unacknowledged, ',') as unacknowledged, " +
  `${ageMs('decided_at')} as age_ms`;

const message = (operation: string, ...statements: string[]): LogMessage => ({
  operation,
  statements,
});
const lazy = (operation: string, ...statements: string[]): LogMessage => ({
  ...message(operation, ...statements),
  isLazy: true,
});

/** The messages about one namespace. Times are the server's, and of the moment, not of a snapshot. */
export function logStatements(tables: LogTables, namespace: string): LogStatements {
  const { versions, incarnations, heartbeats, decisions } = tables;
  const space = literal(namespace);
  const ofIncarnation = (name: string): string =>
    `namespace = ${space} and incarnation = ${literal(name)}`;
  const isLive = (name: string): string =>
    `${ofIncarnation(name)} and fenced_at is null and node is not null`;
  const hear = (name: string): string =>
    `insert into ${heartbeats} (namespace, incarnation, heard_at)
    select namespace, incarnation, clock_timestamp() from ${incarnations} where ${isLive(name)}
    on conflict (namespace, incarnation) do update set heard_at = clock_timestamp()
    returning incarnation`;
  const { names, declarations } = decisionPlans(tables);
  return {
    version: message(
      'read the version of the tables',
      `select version from ${versions} where part = '${TABLES_PART}'`,
    ),
    register: (name, nodeId) =>
      message(
        'register',
        `insert into ${incarnations} as known (namespace, incarnation, node)
        values (${space}, ${literal(name)}, ${literal(JSON.stringify(nodeId))})
        on conflict (namespace, incarnation) do update set node = excluded.node
        where known.fenced_at is null
        returning incarnation`,
        hear(name),
      ),
    // Apart from the incarnation's row, which decisions share and only a fence writes.
    heartbeat: (name) => lazy('heartbeat', hear(name)),
    decide: (name, limit, values) => {
      const given = decisionArguments({ namespace, name, limit, values });
      return {
        ...message('decide', ...decideStatements(tables, given)),
        prepared: {
          declarations,
          statements: names.map((each) => `execute ${each} (${given.join(', ')})`),
        },
      };
    },
    decideWithin: (name, limit, decision) => {
      const given = decisionArguments({ namespace, name, limit, values: [decision] });
      const { operation, statements } = message('decide', ...decideStatements(tables, given));
      const durable = `select set_config('synchronous_commit', ${DURABLE}, true)`;
      return message(operation, durable, ...statements);
    },
    settle: (name, transactionId) => settleMessage({ tables, space, name, transactionId }),
    fence: (name) =>
      message(
        'fence',
        `insert into ${incarnations} as known (namespace, incarnation, fenced_at)
        values (${space}, ${literal(name)}, clock_timestamp())
        on conflict (namespace, incarnation) do update set fenced_at = clock_timestamp()
        where known.fenced_at is null`,
      ),
    find: (transactionId) =>
      message(
        'find',
        `select ${RECORD_COLUMNS} from ${decisions}
        where namespace = ${space} and transaction_id = ${literal(transactionId)} and not is_abort`,
      ),
    ...listMessages(tables, space),
    acknowledge: (pairs) => lazy('acknowledge', acknowledgeStatement(decisions, space, pairs)),
    prune: (retainMs, limit) => lazy('prune', ...pruneStatements(tables, space, retainMs, limit)),
  };
}

/** What lists incarnations and open records. */
function listMessages(
  { incarnations, heartbeats, decisions }: LogTables,
  space: string,
): Pick<LogStatements, 'incarnations' | 'unacknowledged' | 'blockers'> {
  const isOpen = (name: string): string =>
    `namespace = ${space} and incarnation = ${literal(name)} and acknowledged_at is null`;
  return {
    incarnations: message(
      'list incarnations',
      `select known.incarnation, known.node, known.fenced_at is not null as is_fenced,
        ${ageMs('heard.heard_at')} as heard_ms,
        (select count(*) from ${decisions} as open where open.namespace = known.namespace
          and open.incarnation = known.incarnation and open.acknowledged_at is null)::text as open_count
      from ${incarnations} as known
      left join ${heartbeats} as heard using (namespace, incarnation)
      where known.namespace = ${space} and known.retired_at is null
      order by known.registered_at`,
    ),
    unacknowledged: (name, limit) =>
      message(
        'list unacknowledged decisions',
        `select ${RECORD_COLUMNS} from ${decisions} where ${isOpen(name)}
        order by decided_at, transaction_id limit ${limit}`,
      ),
    blockers: (name) =>
      message(
        'list participants that block the log',
        `select distinct participant
        from ${decisions}, unnest(unacknowledged) as participant where ${isOpen(name)}
        order by participant`,
      ),
  };
}

/** What one message decides, as {@link decideStatements} takes it. */
function decisionArguments(options: {
  readonly namespace: string;
  readonly name: string;
  readonly limit: number;
  readonly values: readonly DecisionValues[];
}): readonly string[] {
  const { namespace, name, limit, values } = options;
  return [
    literal(namespace),
    literal(name),
    String(limit),
    textArray(values.map(({ transactionId }) => transactionId)),
    textArray(values.map(({ participants }) => participants)),
    textArray(values.map(({ record }) => record)),
  ];
}

/** The statements of a decision as a session keeps them, each under a name of its own text. */
function decisionPlans(tables: LogTables): {
  readonly names: readonly string[];
  readonly declarations: readonly string[];
} {
  const texts = decideStatements(tables, ['$1', '$2', '$3', '$4', '$5', '$6']);
  const names = texts.map((text) => {
    return `tricord_${createHash('sha1').update(text).digest('hex').slice(0, 20)}`;
  });
  const types = '(text, text, bigint, text[], text[], text[])';
  const declarations = texts.map((text, index) => `prepare ${names[index]} ${types} as ${text}`);
  return { names, declarations };
}

/**
 * The decision. Its first statement records what is new if the incarnation is live, and holds the
 * incarnation's row in share mode until the commit: a fence, which updates the row, is before or after
 * the whole of it. (FOR KEY SHARE would let the fence through.)
 *
 * The answers are a statement of their own, because they need a snapshot from after the wait for the
 * row: an earlier copy of this very message and a fence may both have committed in that time, and then
 * the record is there.
 *
 * Records are looked up by subqueries, one by one in the primary key: joined, and planned without
 * statistics, all records of the namespace would be read for each decision, which are those of a day.
 */
function decideStatements(
  { incarnations, decisions }: LogTables,
  [space, incarnation, limit, ids, names, records]: readonly string[],
): readonly string[] {
  const record = `with live as (
      select incarnation from ${incarnations}
      where namespace = ${space} and incarnation = ${incarnation}
        and fenced_at is null and node is not null
      for share
    ), open as (
      select count(*) as held from (
        select 1 from ${decisions} where namespace = ${space} and incarnation = ${incarnation}
          and acknowledged_at is null limit ${limit}
      ) as capped
    ), fresh as (
      select given.*, row_number() over (order by given.position) as place
      from unnest(${ids}, ${names}, ${records})
        with ordinality as given (transaction_id, participants, record, position)
      where (select true from ${decisions} as known where known.namespace = ${space}
        and known.transaction_id = given.transaction_id) is null
    )
    insert into ${decisions}
      (namespace, transaction_id, incarnation, format, record, unacknowledged, decided_at,
        acknowledged_at)
    select ${space}, fresh.transaction_id, live.incarnation, ${RECORD_FORMAT}, fresh.record,
      string_to_array(fresh.participants, ','), clock_timestamp(),
      case when fresh.participants = '' then clock_timestamp() end
    from live, open, fresh where open.held + fresh.place <= ${limit}
    order by fresh.place
    on conflict (namespace, transaction_id) do nothing`;
  const answers = `select given.id, case (select known.is_abort from ${decisions} as known
        where known.namespace = ${space} and known.transaction_id = given.id)
      when true then 'fenced'
      when false then 'committed'
      else case when exists (select 1 from ${incarnations} where namespace = ${space}
        and incarnation = ${incarnation} and fenced_at is null and node is not null) then 'full'
      else 'fenced' end end as answer,
      exists (select 1 from ${incarnations} where namespace = ${space}
        and incarnation = ${incarnation}) as is_known
    from unnest(${ids}) as given (id)`;
  return [record, answers];
}

/**
 * Rule L1: a mark under the transaction's id, which waits for a record of it that is being committed
 * and gives way to it, and keeps one from being inserted later. The answer needs a snapshot from
 * after that wait, so it is a statement of its own.
 */
function settleMessage(options: {
  readonly tables: LogTables;
  readonly space: string;
  readonly name: string;
  readonly transactionId: string;
}): LogMessage {
  const { tables, space, name, transactionId } = options;
  const id = literal(transactionId);
  const mark = `insert into ${tables.decisions}
      (namespace, transaction_id, incarnation, format, record, unacknowledged, decided_at,
        acknowledged_at, is_abort)
    values (${space}, ${id}, ${literal(name)}, ${RECORD_FORMAT}, '{}', '{}', clock_timestamp(),
      clock_timestamp(), true)
    on conflict (namespace, transaction_id) do nothing`;
  const answer = `select is_abort from ${tables.decisions}
    where namespace = ${space} and transaction_id = ${id}`;
  return { operation: 'settle', statements: [mark, answer] };
}

/** Waits for others who acknowledge the same record, and takes away from what they left. */
function acknowledgeStatement(
  decisions: string,
  space: string,
  pairs: readonly AcknowledgedPair[],
): string {
  const ids = textArray(pairs.map(([transactionId]) => transactionId));
  const names = textArray(pairs.map(([, participant]) => participant));
  return `update ${decisions} as known set
      unacknowledged = array(
        select name from unnest(known.unacknowledged) as name where name <> all (given.names)),
      acknowledged_at = case
        when known.unacknowledged <@ given.names then clock_timestamp() end
    from (select id, array_agg(name) as names from unnest(${ids}, ${names}) as pair (id, name)
      group by id) as given
    where known.namespace = ${space} and known.transaction_id = given.id
      and known.transaction_id = any (${ids}) and known.acknowledged_at is null`;
}

/** Retired is what recovery needs no longer; it stays fenced for as long as a late step may come. */
function pruneStatements(
  { incarnations, heartbeats, decisions, keys }: LogTables,
  space: string,
  retainMs: number,
  limit: number,
): readonly string[] {
  const before = `clock_timestamp() - ${retainMs} * interval '1 millisecond'`;
  const some = (table: string, where: string): string =>
    `ctid = any (array(select ctid from ${table} as old where namespace = ${space} and ${where}
      limit ${limit} for update skip locked))`;
  const idle = `fenced_at is not null and retired_at is null
    and not exists (select 1 from ${decisions} as kept where kept.namespace = old.namespace
      and kept.incarnation = old.incarnation and kept.acknowledged_at is null)`;
  return [
    `delete from ${decisions} where ${some(decisions, `acknowledged_at < ${before}`)}`,
    `update ${incarnations} set retired_at = clock_timestamp() where ${some(incarnations, idle)}`,
    // All its records were acknowledged before it retired, and are past their retention too.
    `delete from ${incarnations} where ${some(incarnations, `retired_at < ${before}`)}`,
    `delete from ${heartbeats} as heard where ${some(
      heartbeats,
      `heard_at < ${before} and not exists (select 1 from ${incarnations} as known
        where known.namespace = old.namespace and known.incarnation = old.incarnation)`,
    )}`,
    `delete from ${keys} where ${some(keys, isExpiredKey('old'))}`,
  ];
}
