import type { Attempt, Decided } from './site-state.js';

/**
 * What sites tell each other. Any message may be lost, delayed, repeated, or overtaken by others.
 * `can-commit`, `attempt` of PC and `decided` of C are the literature's canCommit, preCommit and
 * doCommit.
 */
export type SiteMessage =
  /** The coordinator asks for a vote. */
  | { readonly type: 'can-commit' }
  | { readonly type: 'vote'; readonly isYes: boolean }
  /** A leader asks to move to PC or PA. */
  | { readonly type: 'attempt'; readonly ballot: number; readonly attempt: Attempt }
  | { readonly type: 'ack'; readonly ballot: number }
  /** Somebody waited in vain, and leads a new ballot. */
  | { readonly type: 'elect'; readonly ballot: number }
  | {
      readonly type: 'report';
      readonly ballot: number;
      readonly state: 'W' | Attempt;
      readonly lastAttempt: number;
    }
  /** The ballot is over: its addressee has joined a higher one. */
  | { readonly type: 'refuse'; readonly ballot: number }
  | { readonly type: 'decided'; readonly decided: Decided }
  /** The addressee's decision is carried out here. */
  | { readonly type: 'done' }
  /** Everybody's part is done: nobody will ever ask again. */
  | { readonly type: 'forget' };

/**
 * What a site answers that has no record of the transaction. Every site of a transaction has one,
 * from before the first `can-commit` until all have ended; so the transaction is over, or it is
 * strange here. It cannot vote yes, and it claims nothing about a decision.
 */
export function answerOfAbsent({ type }: SiteMessage): SiteMessage | undefined {
  if (type === 'can-commit') return { type: 'vote', isYes: false };
  return type === 'decided' ? { type: 'done' } : undefined;
}
