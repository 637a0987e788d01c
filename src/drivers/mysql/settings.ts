import { CoordinationError } from '../../core/errors.js';
import type { GuaranteeLevel, Guarantees } from '../../core/guarantees.js';
import type { MysqlResult } from './client.js';
import { ERRNO, errnoOf, messageOf, unsupported } from './errors.js';
import { BRANCHES_PART, TABLES_VERSION, VERSIONS_TABLE } from './setup-sql.js';

/** Which of the two servers it is: they differ in XA. */
export type Flavour = 'mariadb' | 'mysql';

/** What the server says of itself, as far as a participant depends on it. */
export interface ServerSettings {
  readonly flavour: Flavour;
  readonly version: string;
  readonly readOnly: string;
  readonly flushLog: string;
  readonly syncBinlog: string;
  readonly logBin: string;
  readonly doublewrite: string;
  readonly wsrep: string;
  /** MariaDB can be told to roll prepared branches back when their connection ends, as before 10.5. */
  readonly rollbackAtDisconnect: string;
}

type Run = (sql: string) => Promise<MysqlResult>;

const VERSION_MIN: Readonly<Record<Flavour, readonly number[]>> = {
  mariadb: [10, 5, 0],
  mysql: [8, 0, 29],
};
const NAMES = [
  'version',
  'version_comment',
  'read_only',
  'innodb_flush_log_at_trx_commit',
  'sync_binlog',
  'log_bin',
  'innodb_doublewrite',
  'wsrep_on',
  'legacy_xa_rollback_at_disconnect',
] as const;
const SETUP = 'run the SQL that setupSql() of tricord/mysql answers, once, in this database';

/** Reads the settings. Any account may. */
export async function readSettings(run: Run): Promise<ServerSettings> {
  const names = NAMES.map((name) => `'${name}'`).join(', ');
  const { rows } = await run(`show variables where variable_name in (${names})`);
  const values = new Map(rows.map(([name, value]) => [String(name).toLowerCase(), String(value)]));
  const text = (name: (typeof NAMES)[number]): string => values.get(name) ?? 'unknown';
  const version = text('version');
  const isMariadb = /mariadb/i.test(`${version} ${text('version_comment')}`);
  return {
    flavour: isMariadb ? 'mariadb' : 'mysql',
    version,
    readOnly: text('read_only'),
    flushLog: text('innodb_flush_log_at_trx_commit'),
    syncBinlog: text('sync_binlog'),
    logBin: text('log_bin'),
    doublewrite: text('innodb_doublewrite'),
    wsrep: text('wsrep_on'),
    rollbackAtDisconnect: text('legacy_xa_rollback_at_disconnect'),
  };
}

/** Throws BACKEND_UNSUPPORTED for a server that cannot keep a prepared branch. */
export function assertCanPrepare(backend: string, settings: ServerSettings): void {
  const { flavour, version, readOnly, wsrep, rollbackAtDisconnect } = settings;
  if (!isAtLeast(version, VERSION_MIN[flavour])) {
    const facts = { setting: 'version', found: version, needed: 'MariaDB 10.5 or MySQL 8.0.29' };
    const why =
      flavour === 'mariadb'
        ? 'an older MariaDB rolls a prepared branch back when its connection ends'
        : 'an older MySQL lets only the connection that prepared a branch finish it';
    throw unsupported(backend, facts, `upgrade the server; ${why}`);
  }
  if (isOn(rollbackAtDisconnect)) {
    const setting = 'legacy_xa_rollback_at_disconnect';
    const facts = { setting, found: rollbackAtDisconnect, needed: 'OFF' };
    throw unsupported(
      backend,
      facts,
      `a yes would not outlive its connection; set ${setting} = OFF`,
    );
  }
  if (isOn(wsrep)) {
    const facts = { setting: 'wsrep_on', found: wsrep, needed: 'OFF' };
    throw unsupported(backend, facts, 'a Galera cluster does not support XA; use a single primary');
  }
  if (isOn(readOnly)) {
    const facts = { setting: 'read_only', found: readOnly, needed: 'OFF' };
    throw unsupported(backend, facts, 'connect the pool to the primary, not to a replica');
  }
}

/** Tables that are versioned together: their row in `tricord_versions`, and what this release reads. */
export interface TablesPart {
  readonly name: string;
  readonly version: number;
}

/** Throws BACKEND_UNSUPPORTED without the tables of a part, UPGRADE_NEEDED for newer ones. */
export async function assertTables(
  backend: string,
  run: Run,
  part: TablesPart = { name: BRANCHES_PART, version: TABLES_VERSION },
): Promise<void> {
  const version = await tablesVersion(backend, run, part.name);
  if (version === part.version) return;
  const [found, supported] = [String(version), String(part.version)];
  if (version === undefined || version < part.version) {
    throw unsupported(backend, { setting: VERSIONS_TABLE, found, needed: supported }, SETUP);
  }
  const where = `${backend}: ${VERSIONS_TABLE}`;
  throw new CoordinationError(
    'UPGRADE_NEEDED',
    `${where} has version ${found}, and this release of tricord reads ${supported}; upgrade tricord`,
    { where, found, supported },
  );
}

async function tablesVersion(backend: string, run: Run, part: string): Promise<number | undefined> {
  try {
    const sql = `select version from ${VERSIONS_TABLE} where part = '${part}'`;
    const { rows } = await run(sql);
    return rows[0] === undefined ? undefined : Number(rows[0][0]);
  } catch (error) {
    if (errnoOf(error) !== ERRNO.noSuchTable) throw error;
    const facts = { setting: VERSIONS_TABLE, found: 'no table', needed: 'the tables of tricord' };
    throw unsupported(backend, facts, SETUP, error);
  }
}

/** The error of an account that may not list prepared branches; undefined for another error. */
export function recoverRefusal(backend: string, error: unknown): Error | undefined {
  const errno = errnoOf(error);
  if (errno !== ERRNO.xaResourceManager && errno !== ERRNO.accessDenied) return undefined;
  const facts = {
    setting: 'XA_RECOVER_ADMIN',
    found: messageOf(error),
    needed: 'the privilege for the account of the service',
  };
  const remedy =
    "MySQL 8 lists prepared branches only with it: grant xa_recover_admin on *.* to 'service'@'%'";
  return unsupported(backend, facts, remedy, error);
}

/** What the settings promise of prepared and of committed branches. */
export function guaranteesOf(subject: string, settings: ServerSettings): Guarantees {
  return {
    subject,
    survives: levelOf(settings),
    promises: [
      'a prepared branch waits for its decision across restarts of client and server',
      'the outcome of a branch is known by evidence (a row that commits with it), not guessed',
    ],
    warnings: [...warningsOf(settings)],
    refusals: [...refusalsOf(settings)],
    settings: {
      version: settings.version,
      innodb_flush_log_at_trx_commit: settings.flushLog,
      sync_binlog: settings.syncBinlog,
      log_bin: settings.logBin,
      innodb_doublewrite: settings.doublewrite,
      read_only: settings.readOnly,
    },
  };
}

/** A crash of the server between two writes of the log loses what was only in its memory. */
function levelOf({ flushLog, ...settings }: ServerSettings): GuaranteeLevel {
  if (flushLog !== '1' && flushLog !== '2' && flushLog !== '3') return 'none';
  const isDurable = flushLog !== '2' && isBinlogDurable(settings) && !isOff(settings.doublewrite);
  return isDurable ? 'power-loss' : 'process';
}

function* refusalsOf({ flushLog, doublewrite }: ServerSettings): Iterable<string> {
  if (flushLog === '0' || flushLog === 'unknown') {
    yield `innodb_flush_log_at_trx_commit = ${flushLog}: a crash of the server may lose prepared ` +
      'branches; set innodb_flush_log_at_trx_commit = 1';
  }
  if (isOff(doublewrite)) {
    yield `innodb_doublewrite = ${doublewrite}: a loss of power may tear pages; ` +
      'set innodb_doublewrite = ON';
  }
}

function* warningsOf(settings: ServerSettings): Iterable<string> {
  if (settings.flushLog === '2') {
    yield 'innodb_flush_log_at_trx_commit = 2: a loss of power may lose prepared branches; ' +
      'set innodb_flush_log_at_trx_commit = 1';
  }
  if (!isBinlogDurable(settings)) {
    yield `sync_binlog = ${settings.syncBinlog}: a loss of power may undo what was committed, ` +
      'and replicas may differ; set sync_binlog = 1';
  }
  yield 'a fail-over to a replica may lose or bring back branches: replication of XA is ' +
    'asynchronous, and has known faults on both servers';
}

function isBinlogDurable({ logBin, syncBinlog }: Pick<ServerSettings, 'logBin' | 'syncBinlog'>) {
  return isOff(logBin) || syncBinlog === '1';
}

function isOn(value: string): boolean {
  return /^(?:on|1)$/i.test(value);
}

function isOff(value: string): boolean {
  return /^(?:off|0)$/i.test(value);
}

/** Some servers put `5.5.5-` in front, for replicas that would not believe a 10. */
function isAtLeast(version: string, minimum: readonly number[]): boolean {
  const numbers = version
    .replace(/^5\.5\.5-/, '')
    .split(/[.-]/)
    .map(Number);
  for (const [index, wanted] of minimum.entries()) {
    const found = numbers[index] ?? 0;
    if (found !== wanted) return found > wanted;
  }
  return true;
}
