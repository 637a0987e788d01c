import { systemClock } from '../../core/clock.js';
import { systemRandom } from '../../core/random.js';
import { assertNumber, invalidArgument } from '../../core/validate.js';
import { assertNamespace } from '../options.js';
import { isSiteName } from './site-letters.js';
import type { TransactionSiteOptions } from './transaction-site.js';

/** Options of a site with their defaults, checked. */
export type CheckedSiteOptions = {
  readonly [Name in keyof TransactionSiteOptions]-?: Name extends 'assume'
    ? TransactionSiteOptions[Name]
    : Exclude<TransactionSiteOptions[Name], undefined>;
};

const ELECTION_MS = 2_000;
const ELECTION_MS_MIN = 10;
const ELECTION_MS_MAX = 3_600_000;
const RECORDS_MAX = 10_000;
const ASSUMED = 'synchronous-crash-stop';

/** Checks the options of a site. @throws TypeError (INVALID_ARGUMENT) */
export function checkSiteOptions(options: TransactionSiteOptions): CheckedSiteOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', options, '{ name, transport, storage }');
  }
  const { name, transport, storage, assume, namespace = 'default' } = options;
  const { clock = systemClock, random = systemRandom, termination = 'quorum' } = options;
  const { electionMs = ELECTION_MS, recordsMax = RECORDS_MAX } = options;
  if (!isSiteName(name)) {
    throw invalidArgument('name', name, '1 to 64 characters of [A-Za-z0-9_.-]');
  }
  if (typeof transport?.open !== 'function') {
    throw invalidArgument('transport', transport, 'a transport, for example httpTransport({ … })');
  }
  if (typeof storage?.open !== 'function') {
    throw invalidArgument(
      'storage',
      storage,
      'a storage, for example postgresSiteStorage({ pool })',
    );
  }
  assertNamespace(namespace);
  assertNumber('electionMs', electionMs, { min: ELECTION_MS_MIN, max: ELECTION_MS_MAX });
  assertNumber('recordsMax', recordsMax, { min: 1, max: 1_000_000, integer: true });
  assertTermination(termination, assume);
  return {
    name,
    transport,
    storage,
    namespace,
    termination,
    assume,
    electionMs,
    recordsMax,
    clock,
    random,
  };
}

function assertTermination(termination: unknown, assume: unknown): void {
  if (termination !== 'quorum' && termination !== 'elected-backup') {
    throw invalidArgument('termination', termination, "'quorum' or 'elected-backup'");
  }
  if (assume !== undefined && assume !== ASSUMED) {
    throw invalidArgument('assume', assume, `'${ASSUMED}', or nothing`);
  }
  if (termination === 'elected-backup' && assume === undefined) {
    const remedy =
      "termination: 'quorum', which needs no assumption; an elected backup ends mixed after a " +
      `partition or a pause, unless assume: '${ASSUMED}' is true of your network and processes`;
    throw invalidArgument('termination', termination, remedy);
  }
  if (termination === 'quorum' && assume !== undefined) {
    throw invalidArgument('assume', assume, "nothing: termination 'quorum' assumes nothing");
  }
}
