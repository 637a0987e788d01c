import type { DecidedBranch } from '../decision-log.js';

/**
 * What a site votes for: work that was done in this process, with branches that will be prepared. A
 * site asks it to vote once, and later to carry out the decision.
 */
export interface SiteWork {
  /** Every branch that may become prepared, by id. They are written before any of them is. */
  readonly branches: readonly DecidedBranch[];
  /** After so long without a word of the coordinator it is aborted, in milliseconds, unless it voted. */
  readonly timeoutMs: number;
  /** Prepares all branches. A yes names those that are prepared, with their evidence. */
  vote(): Promise<SiteVote>;
  /**
   * Carries the decision out in every branch. Rejects when it could not; then the site goes on with
   * the participants themselves.
   */
  finish(outcome: 'committed' | 'aborted'): Promise<void>;
}

/** What the work of one site answers. */
export type SiteVote =
  | { readonly vote: 'yes'; readonly branches: readonly DecidedBranch[] }
  | { readonly vote: 'no'; readonly reason: string; readonly cause?: unknown };

/** A transaction at a site, for whoever did the work of it there. */
export interface SiteSeat {
  /** Aborts, if nothing binds this site yet. */
  giveUp(): void;
  /** Whether it was too late to give up, and the decision is not known. */
  readonly isBound: boolean;
  /** Resolves with the decision; never, where this process ends before it is known. */
  readonly decided: Promise<'committed' | 'aborted'>;
  /** Resolves when every site has carried the decision out. */
  readonly ended: Promise<void>;
  /** Names of the sites that have not carried it out yet, as far as this one knows. */
  pending(): readonly string[];
  /** Why it voted no, if it did. */
  readonly refusal: Extract<SiteVote, { readonly vote: 'no' }> | undefined;
  /** The site that voted no first, by name, where it said so. */
  readonly refusedBy: string | undefined;
}
