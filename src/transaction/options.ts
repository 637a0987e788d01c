import { systemClock } from '../core/clock.js';
import { GUARANTEE_LEVELS } from '../core/guarantees.js';
import { defaultNodeId } from '../core/ids.js';
import { assertParticipantName } from '../core/participant-name.js';
import { systemRandom } from '../core/random.js';
import {
  assertNodeId,
  assertNumber,
  assertOptions,
  assertResourceId,
  assertSignal,
  invalidArgument,
} from '../core/validate.js';
import type { TransactionCoordinatorOptions, TransactionOptions } from './coordinator.js';
import type { DecisionLog } from './decision-log.js';
import type { Participant } from './participant.js';
import { siteDeskOf } from './three-phase/site-desk.js';
import { SITES_AUTHORITY } from './three-phase/sites-authority.js';
import type { TransactionSite } from './three-phase/transaction-site.js';
import { assertTraceparent } from './traceparent.js';

const TIMEOUT_MS = 30_000;
/** Below the time for which records are kept, so that evidence outlives every transaction. */
const TIMEOUT_MS_MAX = 86_400_000;
const SWEEP_MS = 5_000;
const SWEEP_MS_MIN = 10;
/** Branch numbers have at most three digits, so that a branch's id keeps within 64 bytes. */
const PARTICIPANTS_MAX = 999;
const ATTEMPTS_MAX = 100;
const NAMESPACE = /^[\w-]{1,10}$/;
const AUTHORITY = /^[\w-]{1,8}$/;

type Checked<Options, Optional extends keyof Options> = {
  readonly [Name in keyof Options]-?: Name extends Optional
    ? Options[Name]
    : Exclude<Options[Name], undefined>;
};

/** Options with their defaults, checked. */
export type CheckedCoordinatorOptions = Checked<
  TransactionCoordinatorOptions,
  'requireGuarantee' | 'lastResource' | 'site' | 'traceparent'
>;

/** Options of one transaction with their defaults, checked. */
export type CheckedTransactionOptions = Checked<
  TransactionOptions,
  'signal' | 'key' | 'traceparent'
>;

/** Checks the options of a coordinator. @throws TypeError (INVALID_ARGUMENT) */
export function checkCoordinatorOptions(
  options: TransactionCoordinatorOptions,
): CheckedCoordinatorOptions {
  assertOptions(options, '{ log, participants }');
  const { clock = systemClock, random = systemRandom, timeoutMs = TIMEOUT_MS } = options;
  const { namespace = 'default', sweepMs = SWEEP_MS, acceptRisk = false } = options;
  const { log, participants, requireGuarantee, lastResource, site, traceparent } = options;
  const { nodeId = defaultNodeId(random) } = options;
  assertLog('log', log);
  assertParticipants(participants);
  assertNodeId(nodeId);
  assertNamespace(namespace);
  assertTimeoutMs(timeoutMs);
  assertNumber('sweepMs', sweepMs, { min: SWEEP_MS_MIN, max: Number.POSITIVE_INFINITY });
  if (requireGuarantee !== undefined && !GUARANTEE_LEVELS.includes(requireGuarantee)) {
    throw invalidArgument('requireGuarantee', requireGuarantee, GUARANTEE_LEVELS.join(', '));
  }
  if (typeof acceptRisk !== 'boolean') {
    throw invalidArgument('acceptRisk', acceptRisk, 'true or false');
  }
  if (lastResource !== undefined && !participants.includes(lastResource)) {
    throw invalidArgument('lastResource', lastResource, 'one of the participants');
  }
  if (site !== undefined) assertSite(site, namespace);
  if (traceparent !== undefined && typeof traceparent !== 'function') {
    throw invalidArgument('traceparent', traceparent, 'a function that answers a traceparent');
  }
  return {
    log,
    participants,
    lastResource,
    site,
    traceparent,
    nodeId,
    namespace,
    timeoutMs,
    sweepMs,
    requireGuarantee,
    acceptRisk,
    clock,
    random,
  };
}

/** Checks a decision log. */
export function assertLog(argument: string, value: unknown): asserts value is DecisionLog {
  const log = value as Partial<DecisionLog> | null | undefined;
  const isFree = log?.authority !== SITES_AUTHORITY;
  if (typeof log?.open === 'function' && AUTHORITY.test(String(log.authority)) && isFree) return;
  const remedy = 'a decision log, for example redisTransactions({ client })';
  throw invalidArgument(argument, value, remedy);
}

/** Checks a site, which must be of the same namespace. */
export function assertSite(site: TransactionSite, namespace: string): void {
  siteDeskOf(site);
  if (site.namespace === namespace) return;
  throw invalidArgument('site', site.namespace, `a site of the namespace "${namespace}"`);
}

/** Checks the namespace of coordinators. */
export function assertNamespace(value: unknown): asserts value is string {
  if (typeof value === 'string' && NAMESPACE.test(value)) return;
  throw invalidArgument('namespace', value, '1 to 10 characters of [A-Za-z0-9_-]');
}

/** Checks a list of participants. */
export function assertParticipants(value: unknown): asserts value is readonly Participant[] {
  if (!Array.isArray(value) || value.length > PARTICIPANTS_MAX) {
    const remedy = `a list of at most ${PARTICIPANTS_MAX} participants`;
    throw invalidArgument('participants', value, remedy);
  }
  const names = new Set<string>();
  for (const [index, participant] of value.entries()) {
    const argument = `participants[${index}]`;
    if (typeof participant?.enlist !== 'function') {
      const remedy = 'a participant, for example postgresParticipant({ name, pool })';
      throw invalidArgument(argument, participant, remedy);
    }
    assertParticipantName(participant.name, `${argument}.name`);
    if (names.has(participant.name)) {
      const remedy = 'a name that no other participant has: it stands in commit records';
      throw invalidArgument(`${argument}.name`, participant.name, remedy);
    }
    names.add(participant.name);
  }
}

function assertTimeoutMs(value: unknown): asserts value is number {
  assertNumber('timeoutMs', value, { min: 1, max: TIMEOUT_MS_MAX });
}

/** Checks the arguments of `run` and `commit`. @throws TypeError (INVALID_ARGUMENT) */
export function checkTransactionOptions(
  options: TransactionOptions,
  body: unknown,
  defaults: { readonly timeoutMs: number },
): CheckedTransactionOptions {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', options, '{ resourceId }');
  }
  const { resourceId, timeoutMs = defaults.timeoutMs, protocol = 'two-phase' } = options;
  const { waitFor = 'applied', signal, key, retry = { attempts: 1 }, traceparent } = options;
  assertResourceId(resourceId);
  assertTimeoutMs(timeoutMs);
  if (protocol !== 'two-phase' && protocol !== 'three-phase') {
    throw invalidArgument('protocol', protocol, "'two-phase' or 'three-phase'");
  }
  if (waitFor !== 'applied' && waitFor !== 'decided') {
    throw invalidArgument('waitFor', waitFor, "'applied' or 'decided'");
  }
  assertSignal(signal);
  if (key !== undefined) assertResourceId(key, 'key');
  if (traceparent !== undefined) assertTraceparent(traceparent);
  assertNumber('retry.attempts', retry?.attempts, { min: 1, max: ATTEMPTS_MAX, integer: true });
  if (typeof body !== 'function') {
    throw invalidArgument('body', body, 'a function that does the work of the transaction');
  }
  return { resourceId, timeoutMs, protocol, waitFor, signal, key, retry, traceparent };
}
