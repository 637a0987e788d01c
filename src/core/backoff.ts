import type { Random } from './random.js';

/** How long to wait between attempts. */
export interface BackoffOptions {
  /** The first delay's upper bound, in milliseconds. */
  readonly baseMs: number;
  /** No delay is longer, in milliseconds. */
  readonly maxMs: number;
}

/**
 * The delay before attempt `attempt` (counted from 0): between half of and the whole of an
 * exponentially growing bound. ("Equal jitter" of Brooker's Exponential Backoff And Jitter.)
 */
export function backoffMs(
  attempt: number,
  { baseMs, maxMs }: BackoffOptions,
  random: Random,
): number {
  const bound = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return bound * (0.5 + random.fraction() / 2);
}
