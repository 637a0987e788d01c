import type { SiteMessage } from './site-message.js';
import {
  type Attempt,
  type Decided,
  FIRST_BALLOT,
  isDecided,
  type Lead,
  nextBallot,
  type Report,
  type SiteState,
  withSite,
} from './site-state.js';
import type { TerminationRules } from './termination.js';

/** What happens to one site of one transaction. */
export type SiteEvent =
  /** The coordinator's body is done. */
  | { readonly type: 'lead' }
  /** Its own branches are prepared, or cannot be. */
  | { readonly type: 'voted'; readonly isYes: boolean }
  /** Before its vote, and for the coordinator before the attempt, a site may abort freely. */
  | { readonly type: 'give-up' }
  /** It waited in vain. */
  | { readonly type: 'silence' }
  /** Answers are missing: ask again. */
  | { readonly type: 'resend' }
  /** A site crashed for good. Not to be had outside the synchronous model. */
  | { readonly type: 'crashed'; readonly site: number }
  /** The decision is carried out in its own branches. */
  | { readonly type: 'applied' }
  /** An operator says that a site will never carry the decision out. */
  | { readonly type: 'gone'; readonly site: number }
  | { readonly type: 'message'; readonly from: number; readonly message: SiteMessage };

/**
 * What the engine is to do, in this order. `save` is forced to disk before the next effect: whoever
 * hears from a site can rely on what it said, also after its crash.
 */
export type SiteEffect =
  | { readonly type: 'save' }
  | { readonly type: 'send'; readonly to: number; readonly message: SiteMessage }
  /** Prepare its own branches. */
  | { readonly type: 'vote' }
  /** Carry out the decision in its own branches. */
  | { readonly type: 'decide'; readonly decided: Decided }
  /** Everybody's part is done: the record may go. */
  | { readonly type: 'forget' }
  /** A site says that the opposite was decided: somebody's storage lost what it had written. */
  | { readonly type: 'contradict'; readonly from: number };

/** The new state and what to do. */
export type SiteStep = readonly [SiteState, readonly SiteEffect[]];

/** The machine under given rules. */
export type ThreePhase = (state: SiteState, event: SiteEvent) => SiteStep;

const SAVE: SiteEffect = { type: 'save' };

/**
 * Three-phase commit with elections, as a pure machine: (state, event) → [state, effects]. No I/O
 * and no clock; the site engine performs the effects, and the explorer in the tests drives this very
 * code through every order, loss, repetition and crash.
 *
 * The states and the pair lastElected and lastAttempt are those of Keidar and Dolev's E3PC (1998);
 * the phases are Skeen's (1981). Every site may lead: ballot 1 is the coordinator's, and
 * alone in having votes behind it; later ballots are for whoever waited in vain.
 */
export function threePhase(rules: TerminationRules): ThreePhase {
  return (state, event) => {
    switch (event.type) {
      case 'lead':
        return lead(state);
      case 'voted':
        return voted(rules, state, event.isYes);
      case 'give-up':
        return giveUp(state);
      case 'silence':
        return silence(rules, state);
      case 'resend':
        return [state, unanswered(state)];
      case 'crashed':
        return progress(rules, { ...state, crashed: withSite(state.crashed, event.site) });
      case 'applied':
        return applied(state);
      case 'gone':
        return gone(state, event.site);
      case 'message':
        return received(rules, state, event.from, event.message);
    }
  };
}

function lead(state: SiteState): SiteStep {
  if (state.state !== 'Q' || state.lead !== undefined) return [state, []];
  const leading: SiteState = {
    ...state,
    lead: { phase: 'votes', ballot: FIRST_BALLOT, yes: [] },
  };
  return [leading, [...toOthers(state, { type: 'can-commit' }), { type: 'vote' }]];
}

/** Allowed while nothing binds it: it has not voted, or it leads and has attempted nothing. */
function giveUp(state: SiteState): SiteStep {
  const isFree = state.state === 'Q' || (state.state === 'W' && state.lead?.phase === 'votes');
  if (!isFree) return [state, []];
  if (state.self === 0) return decide(state, 'A', { isTelling: true });
  const [ended, effects] = decide(state, 'A');
  return [ended, [...effects, voteTo(false)]];
}

function voted(rules: TerminationRules, state: SiteState, isYes: boolean): SiteStep {
  if (state.state !== 'Q') return [state, []];
  if (!isYes) return giveUp(state);
  const isLeading = state.lead?.phase === 'votes';
  const waiting: SiteState = { ...state, state: 'W' };
  if (!isLeading) return [waiting, [SAVE, voteTo(true)]];
  const [next, effects] = hasVoted(rules, waiting, state.self);
  return [next, [SAVE, ...effects]];
}

function voteTo(isYes: boolean): SiteEffect {
  return { type: 'send', to: 0, message: { type: 'vote', isYes } };
}

/** Commit is attempted only with everybody's yes, so only ballot 1 can be the first to do so. */
function hasVoted(rules: TerminationRules, state: SiteState, site: number): SiteStep {
  if (state.lead?.phase !== 'votes') return [state, []];
  const leading = { ...state.lead, yes: withSite(state.lead.yes, site) };
  const next: SiteState = { ...state, lead: leading };
  if (leading.yes.length < state.siteCount) return [next, []];
  return attempt(rules, next, leading.ballot, 'PC');
}

/** Its own move to PC or PA is written first, like everybody's, and counts like everybody's. */
function attempt(rules: TerminationRules, state: SiteState, ballot: number, to: Attempt): SiteStep {
  const acks = [state.self];
  const moved: SiteState = {
    ...state,
    state: to,
    lastAttempt: ballot,
    lead: { phase: 'attempt', ballot, attempt: to, acks },
  };
  const [next, effects] = progress(rules, moved);
  const message: SiteMessage = { type: 'attempt', ballot, attempt: to };
  return [next, [SAVE, ...toOthers(state, message), ...effects]];
}

/** Goes on when enough sites have answered. */
function progress(rules: TerminationRules, state: SiteState): SiteStep {
  const { lead: leading } = state;
  if (leading?.phase === 'reports') {
    const heard = leading.reports.map(({ site }) => site);
    if (!rules.isEnough(heard, state)) return [state, []];
    return attempt(rules, state, leading.ballot, rules.attemptOf(leading.reports));
  }
  if (leading?.phase !== 'attempt' || !rules.isEnough(leading.acks, state)) return [state, []];
  return decide(state, leading.attempt === 'PC' ? 'C' : 'A', { isTelling: true });
}

function decide(
  state: SiteState,
  decided: Decided,
  { isTelling = false }: { readonly isTelling?: boolean } = {},
): SiteStep {
  const telling: Lead = { phase: 'telling', ballot: state.lead?.ballot ?? state.lastElected };
  const ended: SiteState = { ...state, state: decided, lead: isTelling ? telling : undefined };
  const tell = isTelling ? toOthers(state, { type: 'decided', decided }) : [];
  return [ended, [SAVE, ...tell, { type: 'decide', decided }]];
}

function silence(rules: TerminationRules, state: SiteState): SiteStep {
  if (state.state === 'Q') return [state, []];
  if (isDecided(state.state)) {
    const telling: SiteState = {
      ...state,
      lead: { phase: 'telling', ballot: state.lastElected },
    };
    return [telling, unanswered(telling)];
  }
  const verdict = rules.onSilence(state);
  if (verdict !== 'elect') return decide(state, verdict === 'commit' ? 'C' : 'A');
  const ballot = nextBallot(state);
  const own: Report = {
    site: state.self,
    state: state.state,
    lastAttempt: state.lastAttempt,
  };
  const electing: SiteState = {
    ...state,
    lastElected: ballot,
    lead: { phase: 'reports', ballot, reports: [own] },
  };
  const [next, effects] = progress(rules, electing);
  return [next, [SAVE, ...toOthers(state, { type: 'elect', ballot }), ...effects]];
}

/** What a leader has asked and was not answered. */
function unanswered(state: SiteState): readonly SiteEffect[] {
  const { lead: leading } = state;
  switch (leading?.phase) {
    case 'votes':
      return toOthers(state, { type: 'can-commit' }, leading.yes);
    case 'reports': {
      const heard = leading.reports.map(({ site }) => site);
      return toOthers(state, { type: 'elect', ballot: leading.ballot }, heard);
    }
    case 'attempt': {
      const { ballot, attempt: to, acks } = leading;
      return toOthers(state, { type: 'attempt', ballot, attempt: to }, acks);
    }
    case 'telling':
      return isDecided(state.state)
        ? toOthers(state, { type: 'decided', decided: state.state }, state.done)
        : [];
    default:
      return [];
  }
}

function applied(state: SiteState): SiteStep {
  if (!isDecided(state.state)) return [state, []];
  const told = state.toldBy.map((to): SiteEffect => ({ type: 'send', to, message: DONE }));
  const [next, effects] = isDone({ ...state, toldBy: [] }, state.self);
  return [next, [...told, ...effects]];
}

/** Written, so that it holds after a restart too. Before the decision its vote may still be needed. */
function gone(state: SiteState, site: number): SiteStep {
  if (!isDecided(state.state) || site === state.self) return [state, []];
  const [next, effects] = isDone(state, site);
  return [next, [SAVE, ...effects]];
}

const DONE: SiteMessage = { type: 'done' };

/** The record goes only when every site has carried the decision out: then nobody can ask. */
function isDone(state: SiteState, site: number): SiteStep {
  const next: SiteState = { ...state, done: withSite(state.done, site) };
  if (next.done.length < state.siteCount || !isDecided(state.state)) return [next, []];
  return [next, [...toOthers(state, { type: 'forget' }), { type: 'forget' }]];
}

function received(
  rules: TerminationRules,
  state: SiteState,
  from: number,
  message: SiteMessage,
): SiteStep {
  switch (message.type) {
    case 'can-commit':
      return canCommit(state);
    case 'vote':
      return hearVote(rules, state, from, message.isYes);
    case 'attempt':
      return hearAttempt(state, from, message.ballot, message.attempt);
    case 'elect':
      return hearElect(state, from, message.ballot);
    case 'report':
      return hearReport(rules, state, { ...message, site: from });
    case 'ack':
      return hearAck(rules, state, from, message.ballot);
    case 'refuse':
      return hearRefuse(state, message.ballot);
    case 'decided':
      return hearDecided(state, from, message.decided);
    case 'done':
      return isDecided(state.state) ? isDone(state, from) : [state, []];
    case 'forget':
      return [state, state.done.includes(state.self) ? [{ type: 'forget' }] : []];
  }
}

function canCommit(state: SiteState): SiteStep {
  // Asked again: the vote is a fact by now, whatever has followed it.
  if (state.state === 'Q') return [state, [{ type: 'vote' }]];
  if (state.self === 0) return [state, []];
  return [state, [voteTo(state.state !== 'A')]];
}

function hearVote(
  rules: TerminationRules,
  state: SiteState,
  from: number,
  isYes: boolean,
): SiteStep {
  if (state.lead?.phase !== 'votes') return [state, []];
  return isYes ? hasVoted(rules, state, from) : decide(state, 'A', { isTelling: true });
}

function hearAttempt(state: SiteState, from: number, ballot: number, to: Attempt): SiteStep {
  const met = beforeJoining(state, from, ballot);
  if (met !== undefined) return met;
  const ack: SiteEffect = { type: 'send', to: from, message: { type: 'ack', ballot } };
  if (state.lastAttempt === ballot) return [state, [ack]];
  const joined = join(state, ballot);
  return [{ ...joined, state: to, lastAttempt: ballot }, [SAVE, ack]];
}

function hearElect(state: SiteState, from: number, ballot: number): SiteStep {
  const met = beforeJoining(state, from, ballot);
  if (met !== undefined) return met;
  const { state: at, lastAttempt } = state;
  const message = { type: 'report', ballot, state: at as Report['state'], lastAttempt } as const;
  const report: SiteEffect = { type: 'send', to: from, message };
  if (state.lastElected === ballot) return [state, [report]];
  return [join(state, ballot), [SAVE, report]];
}

/** What keeps a site from heeding a leader: it knows the decision, or better, or has not voted. */
function beforeJoining(state: SiteState, from: number, ballot: number): SiteStep | undefined {
  if (isDecided(state.state)) {
    return [state, [decidedTo(from, state.state)]];
  }
  if (state.state === 'Q') {
    // It has not voted, so nobody can have committed, and nobody will.
    const [ended, effects] = decide(state, 'A');
    return [ended, [...effects, decidedTo(from, 'A')]];
  }
  if (ballot >= state.lastElected) return undefined;
  const message: SiteMessage = { type: 'refuse', ballot: state.lastElected };
  return [state, [{ type: 'send', to: from, message }]];
}

function decidedTo(to: number, decided: Decided): SiteEffect {
  return { type: 'send', to, message: { type: 'decided', decided } };
}

/** Joining a ballot ends whatever one led in a lower one. */
function join(state: SiteState, ballot: number): SiteState {
  return { ...state, lastElected: ballot, lead: undefined };
}

function hearReport(
  rules: TerminationRules,
  state: SiteState,
  { site, state: at, lastAttempt, ballot }: Report & { readonly ballot: number },
): SiteStep {
  const { lead: leading } = state;
  if (leading?.phase !== 'reports' || leading.ballot !== ballot) return [state, []];
  if (leading.reports.some((each) => each.site === site)) return [state, []];
  const reports = [...leading.reports, { site, state: at, lastAttempt }];
  reports.sort((a, b) => a.site - b.site);
  return progress(rules, { ...state, lead: { ...leading, reports } });
}

function hearAck(
  rules: TerminationRules,
  state: SiteState,
  from: number,
  ballot: number,
): SiteStep {
  const { lead: leading } = state;
  if (leading?.phase !== 'attempt' || leading.ballot !== ballot) return [state, []];
  return progress(rules, { ...state, lead: { ...leading, acks: withSite(leading.acks, from) } });
}

/** Somebody leads a higher ballot: the next one of this site must be above it. */
function hearRefuse(state: SiteState, ballot: number): SiteStep {
  if (isDecided(state.state) || state.state === 'Q' || ballot <= state.lastElected) {
    return [state, []];
  }
  return [join(state, ballot), [SAVE]];
}

function hearDecided(state: SiteState, from: number, decided: Decided): SiteStep {
  if (isDecided(state.state)) {
    if (state.state !== decided) return [state, [{ type: 'contradict', from }]];
    if (!state.done.includes(state.self)) {
      return [{ ...state, toldBy: withSite(state.toldBy, from) }, []];
    }
    return [state, [{ type: 'send', to: from, message: DONE }]];
  }
  // A commit without its own yes cannot be; where storage was lost, it must not be made worse.
  if (state.state === 'Q' && decided === 'C') return [state, [{ type: 'contradict', from }]];
  const heard: SiteState = { ...state, toldBy: withSite(state.toldBy, from) };
  return decide(heard, decided);
}

function toOthers(
  { self, siteCount }: SiteState,
  message: SiteMessage,
  except: readonly number[] = [],
): readonly SiteEffect[] {
  return Array.from({ length: siteCount }, (_, to) => to)
    .filter((to) => to !== self && !except.includes(to))
    .map((to): SiteEffect => ({ type: 'send', to, message }));
}
