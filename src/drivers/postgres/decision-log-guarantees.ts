import type { GuaranteeLevel, Guarantees } from '../../core/guarantees.js';
import type { ServerSettings } from './settings.js';

/**
 * What the settings promise of decisions. `synchronous_commit` is not among them: every decision sets
 * it for its own transaction. Pure.
 */
export function logGuarantees(subject: string, settings: ServerSettings): Guarantees {
  const survives = levelOf(settings);
  return {
    subject,
    survives,
    promises: [PROMISES[survives]],
    warnings: [...warningsOf(survives, settings)],
    refusals: [...refusalsOf(settings)],
    settings: {
      server_version: settings.version,
      fsync: settings.fsync,
      full_page_writes: settings.fullPageWrites,
      synchronous_commit: settings.synchronousCommit,
      synchronous_standby_names: settings.synchronousStandbyNames,
      in_recovery: String(settings.isInRecovery),
    },
  };
}

type Level = Exclude<GuaranteeLevel, 'none'>;

const PROMISES: Readonly<Record<Level, string>> = {
  process: 'acknowledged decisions survive a crash of the server process',
  'power-loss': 'acknowledged decisions survive a loss of power (write-ahead log, fsync)',
  failover:
    'acknowledged decisions are on a synchronous standby too, and survive a fail-over to it',
};

function levelOf({ fsync, fullPageWrites, synchronousStandbyNames }: ServerSettings): Level {
  if (fsync !== 'on' || fullPageWrites !== 'on') return 'process';
  const hasStandby = synchronousStandbyNames !== '' && synchronousStandbyNames !== 'unknown';
  return hasStandby ? 'failover' : 'power-loss';
}

function* refusalsOf({ fsync, fullPageWrites }: ServerSettings): Iterable<string> {
  if (fsync !== 'on') {
    yield `fsync = ${fsync}: a loss of power may lose decisions or the whole log; set fsync = on`;
  }
  if (fullPageWrites !== 'on') {
    yield `full_page_writes = ${fullPageWrites}: a loss of power may tear pages of the log; ` +
      'set full_page_writes = on';
  }
}

function* warningsOf(survives: Level, settings: ServerSettings): Iterable<string> {
  if (survives !== 'failover') {
    const names = settings.synchronousStandbyNames;
    yield `no synchronous standby (synchronous_standby_names = '${names}'): a fail-over to an ` +
      'asynchronous one may forget decisions; set synchronous_standby_names, or never fail over';
  }
}
