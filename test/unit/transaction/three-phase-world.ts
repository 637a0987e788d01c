import {
  answerOfAbsent,
  type SiteMessage,
} from '../../../src/transaction/three-phase/site-message.js';
import {
  type DurableSite,
  isDecided,
  nextBallot,
  type SiteState,
  siteAfterCrash,
  siteStart,
} from '../../../src/transaction/three-phase/site-state.js';
import type { TerminationRules } from '../../../src/transaction/three-phase/termination.js';
import {
  type SiteEvent,
  type ThreePhase,
  threePhase,
} from '../../../src/transaction/three-phase/three-phase.js';

/** What the explorer lets happen. */
export interface World {
  readonly siteCount: number;
  readonly rules: TerminationRules;
  /** Another machine than that of `rules`: a mutant. */
  readonly machine?: ThreePhase | undefined;
  /** Nobody leads a higher ballot than this. */
  readonly ballotMax: number;
  /** So many crashes, each with a restart at any time: what was saved survives. */
  readonly crashes?: number | undefined;
  /** Sites that crash never come back, and a detector tells the others so, without error. */
  readonly isCrashStop?: boolean | undefined;
  /** With `isCrashStop`: sites may be taken for crashed that are not. */
  readonly isSuspicious?: boolean | undefined;
  /** Whether somebody may wait in vain although nobody crashed. Default true. */
  readonly isImpatient?: boolean | undefined;
  /** Whether ended sites tell each other so, and forget. */
  readonly isForgetting?: boolean | undefined;
  /** Everybody votes yes and nobody gives up before: where only termination is looked at. */
  readonly isUnanimous?: boolean | undefined;
  /** Whether leaders of lower ballots are told so; without it they learn from elections alone. */
  readonly isRefusing?: boolean | undefined;
  /** Keeps letters that can change nothing any more: more states, and the same ones of the sites. */
  readonly isKeepingDead?: boolean | undefined;
  /** Sites that may wait in vain; default all. */
  readonly electors?: readonly number[] | undefined;
}

/** One site as the explorer holds it: what the machine knows, and what its disk knows. */
export interface WorldSite {
  /** Undefined: it has forgotten the transaction. */
  readonly site: SiteState | undefined;
  readonly disk: DurableSite;
  /** It was asked to vote and has not answered. */
  readonly isVoting: boolean;
  /** The work that it could vote for; lost in a crash. */
  readonly hasWork: boolean;
  readonly isDown: boolean;
  /** What it decided, also after it forgot. */
  readonly decided: 'C' | 'A' | undefined;
  readonly saidNo: boolean;
  /** Its disk let go of a decision. */
  readonly wavered: boolean;
}

/** A message on its way, for ever: it may arrive never, late, and again. */
export interface Letter {
  readonly from: number;
  readonly to: number;
  readonly message: SiteMessage;
}

/** What may happen at one site beside the arrival of a letter. */
export type LocalEvent =
  | Exclude<SiteEvent, { readonly type: 'message' }>
  | { readonly type: 'crash' };

/** What became of a site by an event. */
export interface Turn {
  readonly site: WorldSite;
  readonly letters: readonly Letter[];
}

/** A site before anything happened. */
export function worldSite(self: number, siteCount: number): WorldSite {
  const site = siteStart(self, siteCount);
  return {
    site,
    disk: durableOf(site),
    isVoting: false,
    hasWork: true,
    isDown: false,
    decided: undefined,
    saidNo: false,
    wavered: false,
  };
}

/** Everything that may happen at a site by itself. */
export function localEvents(world: World, self: WorldSite): readonly LocalEvent[] {
  const { site } = self;
  if (site === undefined || self.isDown) return [];
  const events: LocalEvent[] = [];
  if (site.state === 'Q') {
    if (site.self === 0 && site.lead === undefined && self.hasWork) events.push({ type: 'lead' });
    if (self.isVoting && self.hasWork) events.push({ type: 'voted', isYes: true });
    if (self.isVoting && !world.isUnanimous) events.push({ type: 'voted', isYes: false });
  }
  if (!world.isUnanimous) events.push({ type: 'give-up' });
  const mayElect = world.electors?.includes(site.self) ?? true;
  const isWaiting = !isDecided(site.state) && site.state !== 'Q';
  if (isWaiting && mayElect && nextBallot(site) <= world.ballotMax)
    events.push({ type: 'silence' });
  if (world.isForgetting && isDecided(site.state)) {
    if (mayElect) events.push({ type: 'silence' });
    if (!site.done.includes(site.self)) events.push({ type: 'applied' });
  }
  return events;
}

/** One step of one site. Only what was saved is on its disk. */
export function turn(world: World, self: WorldSite, event: LocalEvent | Letter): Turn {
  if ('type' in event && event.type === 'crash') return { site: crashed(world, self), letters: [] };
  if (self.site === undefined) return { site: self, letters: absent(event) };
  const machine = world.machine ?? threePhase(world.rules);
  const happening = 'message' in event ? { type: 'message' as const, ...event } : event;
  const [site, effects] = machine(self.site, happening as SiteEvent);
  const isVote = 'type' in event && event.type === 'voted';
  let next: WorldSite = {
    ...self,
    site,
    isVoting: self.isVoting && !isVote && site.state === 'Q',
    saidNo: self.saidNo || (isVote && !event.isYes),
  };
  const letters: Letter[] = [];
  for (const effect of effects) {
    switch (effect.type) {
      case 'save':
        next = saved(next, site);
        break;
      case 'vote':
        next = { ...next, isVoting: true };
        break;
      case 'send':
        if (isSent(world, effect.message)) {
          letters.push({ from: site.self, to: effect.to, message: effect.message });
        }
        break;
      case 'forget':
        next = { ...next, site: undefined };
        break;
      default:
        break;
    }
  }
  return { site: world.isForgetting ? next : plain(next), letters };
}

/** What is the same in every future is made the same now: it keeps the number of states small. */
function plain(self: WorldSite): WorldSite {
  const { site, disk } = self;
  if (site === undefined || site.state === 'Q') return self;
  const voted = { ...self, hasWork: false };
  if (!isDecided(site.state) || site.state !== disk.state) return voted;
  const over = { ...siteStart(site.self, site.siteCount), state: site.state };
  return { ...voted, site: over, disk: durableOf(over) };
}

/**
 * Whether a letter can change nothing at its addressee any more, now or later: its question has been
 * answered, or what it answers is no longer asked.
 */
export function isDead(world: World, { message, from }: Letter, { site }: WorldSite): boolean {
  if (site === undefined) return false;
  const { lead } = site;
  switch (message.type) {
    case 'vote':
      return lead?.phase !== 'votes' && (site.self !== 0 || site.state !== 'Q');
    case 'can-commit':
      return site.state !== 'Q' && site.state !== 'A';
    case 'ack':
      return (
        lead?.phase !== 'attempt' || lead.ballot !== message.ballot || lead.acks.includes(from)
      );
    case 'report':
      return lead?.phase !== 'reports' || lead.ballot !== message.ballot;
    case 'elect':
    case 'attempt': {
      if (isDecided(site.state) || site.state === 'Q') return false;
      if (message.ballot < site.lastElected) return !world.isRefusing;
      if (message.type === 'elect') return message.ballot === site.lastElected;
      return message.ballot === site.lastAttempt;
    }
    case 'refuse':
      return isDecided(site.state) || message.ballot <= site.lastElected;
    case 'decided':
      return !world.isForgetting && site.state === message.decided;
    default:
      return false;
  }
}

function saved(self: WorldSite, site: SiteState): WorldSite {
  const disk = durableOf(site);
  const wavered = isDecided(self.disk.state) && self.disk.state !== disk.state;
  const decided = isDecided(disk.state) ? disk.state : self.decided;
  return { ...self, disk, decided, wavered: self.wavered || wavered };
}

function crashed({ isCrashStop }: World, self: WorldSite): WorldSite {
  const gone = { ...self, isVoting: false, hasWork: false };
  if (isCrashStop) return { ...gone, isDown: true };
  return self.site === undefined ? gone : { ...gone, site: siteAfterCrash(self.disk) };
}

function absent(event: LocalEvent | Letter): readonly Letter[] {
  if (!('message' in event)) return [];
  const answer = answerOfAbsent(event.message);
  return answer === undefined ? [] : [{ from: event.to, to: event.from, message: answer }];
}

function isSent({ isForgetting, isRefusing }: World, { type }: SiteMessage): boolean {
  if (type === 'done' || type === 'forget') return isForgetting ?? false;
  return type !== 'refuse' || (isRefusing ?? false);
}

function durableOf({ self, siteCount, state, lastElected, lastAttempt }: SiteState): DurableSite {
  return { self, siteCount, state, lastElected, lastAttempt };
}
