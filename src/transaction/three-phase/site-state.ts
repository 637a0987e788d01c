/**
 * Where one site stands in one three-phase transaction. `Q`: it works and has not voted. `W`: it
 * voted yes and waits. `PC` and `PA`: pre-committed and pre-aborted. `C` and `A`: decided for ever.
 */
export type CommitState = 'Q' | 'W' | 'PC' | 'PA' | 'C' | 'A';

/** An attempt to decide: what a leader asks a quorum to move to first. */
export type Attempt = 'PC' | 'PA';

/** A decision. */
export type Decided = 'C' | 'A';

/**
 * One site of one transaction. `state`, `lastElected` and `lastAttempt` are durable, and written
 * before any message leaves that tells of them; the rest is lost in a crash, and may be.
 */
export interface SiteState {
  /** This site's place in the list of sites. 0 is the coordinator. */
  readonly self: number;
  /** How many sites vote. */
  readonly siteCount: number;
  readonly state: CommitState;
  /** The highest ballot that this site has joined: no message of a lower one is heeded any more. */
  readonly lastElected: number;
  /** The ballot in which this site moved to PC or PA last; 0 for never. */
  readonly lastAttempt: number;
  /** What this site leads, if it leads. */
  readonly lead: Lead | undefined;
  /** Sites that are known to have ended their part after the decision. */
  readonly done: readonly number[];
  /** Sites that told the decision and wait to hear that it is done. */
  readonly toldBy: readonly number[];
  /** Sites that crashed for good: only heeded where the model has a detector that never errs. */
  readonly crashed: readonly number[];
}

/** A leader's business. The coordinator leads ballot 1; whoever is elected leads a higher one. */
export type Lead = VoteLead | ReportLead | AttemptLead | TellLead;

/** The coordinator collects votes. */
export interface VoteLead {
  readonly phase: 'votes';
  readonly ballot: number;
  readonly yes: readonly number[];
}

/** An elected site collects what the others know. */
export interface ReportLead {
  readonly phase: 'reports';
  readonly ballot: number;
  readonly reports: readonly Report[];
}

/** A leader moves a quorum to PC or PA. */
export interface AttemptLead {
  readonly phase: 'attempt';
  readonly ballot: number;
  readonly attempt: Attempt;
  readonly acks: readonly number[];
}

/** Somebody who knows the decision tells it until all have ended. */
export interface TellLead {
  readonly phase: 'telling';
  readonly ballot: number;
}

/** What a site tells whoever it elected. */
export interface Report {
  readonly site: number;
  readonly state: 'W' | Attempt;
  readonly lastAttempt: number;
}

/** The ballot of the coordinator; sites are in it from the start. */
export const FIRST_BALLOT = 1;

/** A site that works and has not voted. */
export function siteStart(self: number, siteCount: number): SiteState {
  return {
    self,
    siteCount,
    state: 'Q',
    lastElected: FIRST_BALLOT,
    lastAttempt: 0,
    lead: undefined,
    done: [],
    toldBy: [],
    crashed: [],
  };
}

/** What is left of a site after a crash. */
export function siteAfterCrash(durable: DurableSite): SiteState {
  const { self, siteCount, state, lastElected, lastAttempt } = durable;
  return { ...siteStart(self, siteCount), state, lastElected, lastAttempt };
}

/** The part of a site that is written. */
export type DurableSite = Pick<
  SiteState,
  'self' | 'siteCount' | 'state' | 'lastElected' | 'lastAttempt'
>;

/** Whether a site knows the decision. */
export function isDecided(state: CommitState): state is Decided {
  return state === 'C' || state === 'A';
}

/**
 * The next ballot that a site may lead: above every one that it has joined, and nobody else's,
 * because each site has its own residue.
 */
export function nextBallot({ self, siteCount, lastElected }: DurableSite): number {
  const round = Math.floor(Math.max(lastElected - 1 - self, -1) / siteCount) + 1;
  return round * siteCount + self + 1;
}

/** Who leads a ballot. */
export function leaderOf(ballot: number, siteCount: number): number {
  return (ballot - 1) % siteCount;
}

/** The list with the site in it, in order. */
export function withSite(sites: readonly number[], site: number): readonly number[] {
  return sites.includes(site) ? sites : [...sites, site].toSorted((a, b) => a - b);
}
