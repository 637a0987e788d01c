import { abortScope, onAbort } from '../../core/abort.js';
import { type Deferred, deferred } from '../../core/deferred.js';
import { CoordinationError } from '../../core/errors.js';
import type { DecidedBranch } from '../decision-log.js';
import type { SiteSeat } from '../three-phase/site-work.js';
import { isSitesTransaction } from '../three-phase/sites-authority.js';
import type { CallRecord } from './call-record.js';
import { callUntil } from './call-watch.js';
import type { ServeHost } from './serve-host.js';

/** The part that this node's site has in a call of a three-phase transaction. */
export interface SiteCall {
  /** The site's name. */
  readonly site: string;
  /** Writes that these branches may become prepared; before that, none may be. */
  join(branches: readonly DecidedBranch[]): Promise<void>;
  /** Aborts, unless the site is bound. */
  giveUp(): void;
  /** The decision; until then the site follows the sites, and, while it is free, the caller. */
  decided(): Promise<'committed' | 'aborted'>;
  /** Tells the site that the decision is carried out here, or that it could not be. */
  ended(answer: 'done' | 'left'): void;
}

/** What a call has, seen from its site. */
export interface SiteCallFacts {
  readonly host: ServeHost;
  readonly record: CallRecord;
  readonly transactionId: string;
  readonly remainingMs: () => number;
  /** The prepared branches; undefined while not all are. */
  readonly prepared: () => readonly DecidedBranch[] | undefined;
  /** Carries the decision out, or aborts what has not been answered yet. */
  readonly end: (outcome: 'committed' | 'aborted') => void;
}

/** The same for a call that does not tell how long its transaction may take. */
const FREE_MS_MIN = 60_000;

/**
 * So long the site waits to be asked for its vote, in milliseconds: while the caller's transaction may
 * take. Then it aborts by itself, which is allowed before its vote. A caller that is known to be gone is
 * not waited for.
 */
function freeMs({ record, remainingMs }: SiteCallFacts): number {
  const { slackMs } = record;
  if (slackMs === undefined) return Math.max(2 * remainingMs(), FREE_MS_MIN);
  return Math.max(remainingMs() + slackMs, 1);
}

/** Undefined for a call of a two-phase transaction. @throws CoordinationError (PROTOCOL_UNSUPPORTED) */
export function siteCall(facts: SiteCallFacts): SiteCall | undefined {
  const { host, transactionId } = facts;
  if (!isSitesTransaction(transactionId)) return undefined;
  const { site, service } = host;
  if (site === undefined) {
    throw new CoordinationError(
      'PROTOCOL_UNSUPPORTED',
      `service "${service}" has no site for a three-phase transaction; pass ` +
        'serveParticipant({ site: createTransactionSite({ … }) })',
      { protocol: 'three-phase', needed: 'a site', found: 'none' },
    );
  }
  const applied = deferred<void>();
  let joining: Promise<SiteSeat> | undefined;
  let seat: SiteSeat | undefined;
  let isGivenUp = false;
  const giveUp = (): void => {
    isGivenUp = true;
    seat?.giveUp();
  };
  return {
    site: site.site,
    async join(branches) {
      joining ??= site.join(transactionId, {
        branches,
        timeoutMs: freeMs(facts),
        async vote() {
          const prepared = isGivenUp ? undefined : facts.prepared();
          if (prepared === undefined) return { vote: 'no', reason: 'its work is over' };
          return { vote: 'yes', branches: prepared };
        },
        finish: (outcome) => carriedOut(facts, outcome, applied),
      });
      seat = await joining;
      // It was given up while the record was being written.
      if (isGivenUp) seat.giveUp();
    },
    giveUp,
    async decided() {
      if (seat === undefined) return 'aborted';
      using scope = abortScope({ clock: host.clock, parents: [host.stopped] });
      void followCaller(facts, giveUp, scope.signal);
      const stopped = deferred<never>();
      const stop = onAbort(host.stopped, () => stopped.reject(host.stopped.reason));
      try {
        return await Promise.race([seat.decided, stopped.promise]);
      } finally {
        stop();
      }
    },
    ended(answer) {
      if (answer === 'done') applied.resolve();
      else applied.reject(new Error('a branch could not be reached'));
    },
  };
}

function carriedOut(
  { end }: SiteCallFacts,
  outcome: 'committed' | 'aborted',
  applied: Deferred<void>,
): Promise<void> {
  end(outcome);
  return applied.promise;
}

/** A caller that aborts before it asks for votes says so in the store, sooner than time does. */
async function followCaller(
  { host, record }: SiteCallFacts,
  giveUp: () => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    const stands = await callUntil(host.desk, record, (now) => now?.state !== 'voted', signal);
    if (stands?.outcome !== 'committed') giveUp();
  } catch {
    // The decision came first, or this node ends.
  }
}
