import type { Instant, Validity } from '../../../core/clock.js';

/**
 * Until when a grant may be believed: what the server said is left counts from before *the send
 * that is answered*. Counting from the newest send, or from the receipt of the reply, makes two
 * owners when a message is late.
 *
 * Every validity of this driver is made here. A grant that is pushed to a waiter only makes it ask
 * at once; the answer to that is what counts, so no deadline is ever derived from a message whose
 * age is unknown.
 */
export function repliedValidity(sent: Instant, remainingMs: number): Validity {
  return { since: sent, forMs: remainingMs };
}
