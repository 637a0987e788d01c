import type { Attempt, Report, SiteState } from './site-state.js';

/** How sites end a transaction whose coordinator is silent. */
export interface TerminationRules {
  /** What a site does that voted yes and waited in vain. */
  onSilence(state: SiteState): 'elect' | 'commit' | 'abort';
  /** Whether a leader has heard from enough sites, itself among them. */
  isEnough(heard: readonly number[], state: SiteState): boolean;
  /** What an elected site tries to decide, given enough reports. */
  attemptOf(reports: readonly Report[]): Attempt;
}

/**
 * Quorum termination: E3PC of Keidar and Dolev (Increasing the Resilience of Distributed and
 * Replicated Database Systems, JCSS 57, 1998). A majority decides; any two majorities share a site,
 * and what that site tells last binds the next leader. Safe under any loss, delay, partition and
 * false suspicion; a connected majority never blocks.
 */
export const quorumTermination: TerminationRules = {
  onSilence: () => 'elect',
  isEnough: (heard, { siteCount }) => heard.length > siteCount / 2,
  attemptOf: latestAttempt,
};

/**
 * Termination by an elected backup: Skeen (Nonblocking Commit Protocols, SIGMOD 1981). Everybody
 * who has not crashed must answer, so even a single survivor goes on; in return it is right only
 * where a crash is the only fault and is never suspected falsely.
 */
export const backupTermination: TerminationRules = {
  onSilence: () => 'elect',
  isEnough: (heard, { siteCount, crashed }) => new Set([...heard, ...crashed]).size === siteCount,
  attemptOf: latestAttempt,
};

/**
 * Whatever was attempted last may have been decided, so it is attempted again; without any attempt
 * nobody can have committed. One ballot attempts one thing, so the latest reports agree.
 */
function latestAttempt(reports: readonly Report[]): Attempt {
  const latest = Math.max(...reports.map(({ lastAttempt }) => lastAttempt));
  const isCommittable = reports.some(
    ({ state, lastAttempt }) => lastAttempt === latest && state === 'PC',
  );
  return isCommittable ? 'PC' : 'PA';
}
