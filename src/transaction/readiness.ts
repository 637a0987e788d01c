import { CoordinationError } from '../core/errors.js';
import {
  type GuaranteeLevel,
  type Guarantees,
  guaranteeAtLeast,
  weakestGuarantee,
} from '../core/guarantees.js';
import type { CoordinatorGuarantees } from './coordinator.js';
import type { DecisionLogSession } from './decision-log.js';
import type { Participant } from './participant.js';
import type { TransactionSite } from './three-phase/transaction-site.js';

/** Checks once, before the first use, that the log and each participant keep what is promised. */
export interface Readiness {
  /** Whether the log, or a participant, has passed: then nobody need wait for a check. */
  readonly isLogChecked: boolean;
  isChecked(participant: Participant): boolean;
  /** Rejects with GUARANTEE_REFUSED, or with what the log could not be read for. */
  checkLog(signal: AbortSignal): Promise<void>;
  /** Rejects with GUARANTEE_REFUSED, BACKEND_UNSUPPORTED, or with what it could not be read for. */
  checkParticipant(participant: Participant, signal: AbortSignal): Promise<void>;
  /** The same of a site's storage. */
  checkSite(site: TransactionSite, signal: AbortSignal): Promise<void>;
  /** Reads all of them now. */
  guarantees(signal: AbortSignal | undefined): Promise<CoordinatorGuarantees>;
}

/** What a coordinator demands of its backends. */
export interface Demands {
  readonly requireGuarantee: GuaranteeLevel | undefined;
  readonly acceptRisk: boolean;
}

/** Nothing checked yet. A check that failed is made again at the next use. */
export function readiness(
  session: DecisionLogSession,
  participants: readonly Participant[],
  demands: Demands,
): Readiness {
  const passed = new Set<DecisionLogSession | Participant | TransactionSite>();
  const check = async (
    part: DecisionLogSession | Participant | TransactionSite,
    signal: AbortSignal,
  ): Promise<void> => {
    if (passed.has(part)) return;
    assertKept(await part.guarantees({ signal }), demands);
    passed.add(part);
  };
  return {
    get isLogChecked() {
      return passed.has(session);
    },
    isChecked: (participant) => passed.has(participant),
    checkLog: (signal) => check(session, signal),
    checkParticipant: check,
    checkSite: check,
    async guarantees(signal) {
      const parts = [session, ...participants];
      return combined(await Promise.all(parts.map((part) => part.guarantees({ signal }))));
    },
  };
}

function assertKept(given: Guarantees, { requireGuarantee, acceptRisk }: Demands): void {
  const { subject, survives, refusals = [], warnings } = given;
  if (refusals.length > 0 && !acceptRisk) {
    const remedy = 'change it, or pass acceptRisk: true to go on without the promise';
    throw refused(
      given,
      requireGuarantee ?? survives,
      refusals,
      `${refusals.join('; ')}; ${remedy}`,
    );
  }
  if (requireGuarantee === undefined || guaranteeAtLeast(survives, requireGuarantee)) return;
  const why = warnings.length > 0 ? `: ${warnings.join('; ')}` : ` of ${subject}`;
  const fact = `"${requireGuarantee}" is required, but only "${survives}" is survived${why}`;
  throw refused(given, requireGuarantee, warnings, fact);
}

function refused(
  { subject, survives: given }: Guarantees,
  required: GuaranteeLevel,
  reasons: readonly string[],
  fact: string,
): CoordinationError<'GUARANTEE_REFUSED'> {
  const details = { backend: subject, required, given, reasons };
  return new CoordinationError('GUARANTEE_REFUSED', `${subject} was refused: ${fact}`, details);
}

/** A chain promises what its weakest part does. */
function combined(parts: readonly Guarantees[]): CoordinatorGuarantees {
  const survives = weakestGuarantee(parts.map((part) => part.survives));
  const about = ({ subject }: Guarantees, sentences: readonly string[] = []): readonly string[] =>
    sentences.map((sentence) => `${subject}: ${sentence}`);
  const settings = parts.flatMap(({ subject, settings: read }) =>
    Object.entries(read).map(([name, value]) => [`${subject}: ${name}`, value] as const),
  );
  return {
    subject: 'coordinator',
    survives,
    promises: [promiseOf(survives), ...parts.flatMap((part) => about(part, part.promises))],
    warnings: parts.flatMap((part) => about(part, part.warnings)),
    settings: Object.fromEntries(settings),
    refusals: parts.flatMap((part) => about(part, part.refusals)),
    parts,
  };
}

function promiseOf(survives: GuaranteeLevel): string {
  const events = {
    none: 'as long as no server of the log or of a participant stops',
    process: 'also when a server process of the log or of a participant stops',
    'power-loss': 'also when a machine of the log or of a participant loses power',
    failover: 'also when a machine is lost and another takes over',
  };
  return `a transaction commits in every participant or in none, ${events[survives]}`;
}
