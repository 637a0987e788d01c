import type { GuaranteeLevel, Guarantees } from '../../core/guarantees.js';
import type { StatementResult } from './client.js';
import { unsupported } from './errors.js';

/** What the server says of itself, as far as a participant depends on it. */
export interface ServerSettings {
  readonly version: string;
  readonly versionNumber: number;
  readonly slotsMax: number;
  readonly isInRecovery: boolean;
  readonly fsync: string;
  readonly fullPageWrites: string;
  readonly synchronousCommit: string;
  readonly synchronousStandbyNames: string;
  /** The session's own time-outs in milliseconds; 0 for none. A branch never waits for longer. */
  readonly statementTimeoutMs: number;
  readonly lockTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

const VERSION_MIN = 130_000;
const SETTINGS = [
  'server_version',
  'server_version_num',
  'max_prepared_transactions',
  'fsync',
  'full_page_writes',
  'synchronous_commit',
  'synchronous_standby_names',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
] as const;

/** Reads the settings. Any role may. */
export async function readSettings(
  run: (text: string) => Promise<readonly StatementResult[]>,
): Promise<ServerSettings> {
  const names = SETTINGS.map((name) => `'${name}'`).join(', ');
  const [answer, recovery] = await run(
    `select name, setting from pg_settings where name in (${names}); ` +
      'select pg_is_in_recovery() as in_recovery',
  );
  const values = new Map(answer?.rows.map((row) => [row.name, String(row.setting)]));
  const text = (name: (typeof SETTINGS)[number]): string => values.get(name) ?? 'unknown';
  return {
    version: text('server_version').split(' ')[0] ?? 'unknown',
    versionNumber: Number(text('server_version_num')),
    slotsMax: Number(text('max_prepared_transactions')),
    isInRecovery: recovery?.rows[0]?.in_recovery === true,
    fsync: text('fsync'),
    fullPageWrites: text('full_page_writes'),
    synchronousCommit: text('synchronous_commit'),
    synchronousStandbyNames: text('synchronous_standby_names'),
    statementTimeoutMs: Number(text('statement_timeout')),
    lockTimeoutMs: Number(text('lock_timeout')),
    idleTimeoutMs: Number(text('idle_in_transaction_session_timeout')),
  };
}

/** Throws BACKEND_UNSUPPORTED for a server that cannot prepare. */
export function assertCanPrepare(backend: string, settings: ServerSettings): void {
  if (!(settings.versionNumber >= VERSION_MIN)) {
    const facts = { setting: 'server_version', found: settings.version, needed: '13 or newer' };
    throw unsupported(backend, facts, 'upgrade the server; pg_xact_status(xid8) came with 13');
  }
  if (settings.isInRecovery) {
    const facts = { setting: 'pg_is_in_recovery()', found: 'true', needed: 'the primary' };
    throw unsupported(backend, facts, 'connect the pool to the primary, not to a standby');
  }
  if (!(settings.slotsMax > 0)) {
    const found = String(settings.slotsMax);
    const facts = { setting: 'max_prepared_transactions', found, needed: 'at least 1' };
    throw unsupported(
      backend,
      facts,
      'PREPARE TRANSACTION is off, as PostgreSQL has it by default; run ALTER SYSTEM SET ' +
        'max_prepared_transactions = 64 (about as many as connections that prepare at one time) ' +
        'and restart the server',
    );
  }
}

/** What the settings promise of prepared and of committed branches. */
export function guaranteesOf(subject: string, settings: ServerSettings): Guarantees {
  const survives = levelOf(settings);
  return {
    subject,
    survives,
    promises: [
      'a prepared branch waits for its decision across restarts of client and server',
      'the outcome of a branch is known by evidence (pg_xact_status), not guessed',
      ...(survives === 'failover' ? ['commits wait for a synchronous standby'] : []),
    ],
    warnings: [...warningsOf(settings)],
    refusals: [...refusalsOf(settings)],
    settings: {
      server_version: settings.version,
      max_prepared_transactions: String(settings.slotsMax),
      fsync: settings.fsync,
      full_page_writes: settings.fullPageWrites,
      synchronous_commit: settings.synchronousCommit,
      synchronous_standby_names: settings.synchronousStandbyNames,
      in_recovery: String(settings.isInRecovery),
    },
  };
}

function levelOf(settings: ServerSettings): GuaranteeLevel {
  const { fsync, fullPageWrites, synchronousCommit, synchronousStandbyNames } = settings;
  if (fsync !== 'on' || fullPageWrites !== 'on') return 'process';
  if (synchronousCommit === 'off') return 'process';
  const waits = synchronousCommit === 'on' || synchronousCommit === 'remote_apply';
  const hasStandby = synchronousStandbyNames !== '' && synchronousStandbyNames !== 'unknown';
  return waits && hasStandby ? 'failover' : 'power-loss';
}

/** Without these a crash of the machine can undo a yes, or a commit, that was answered. */
function* refusalsOf(settings: ServerSettings): Iterable<string> {
  if (settings.fsync !== 'on') {
    yield `fsync = ${settings.fsync}: a loss of power may lose prepared branches; set fsync = on`;
  }
  if (settings.fullPageWrites !== 'on') {
    yield `full_page_writes = ${settings.fullPageWrites}: a loss of power may tear pages; ` +
      'set full_page_writes = on';
  }
}

function* warningsOf(settings: ServerSettings): Iterable<string> {
  if (settings.synchronousCommit === 'off') {
    yield 'synchronous_commit = off: a one-phase commit may be lost with the server; ' +
      'set synchronous_commit = on';
  }
  if (levelOf(settings) !== 'failover') {
    yield 'no synchronous standby: a fail-over to an asynchronous one may lose or bring back ' +
      'branches; set synchronous_standby_names and synchronous_commit = on';
  }
}
