import type { Instant, Validity } from '../../../core/clock.js';

/**
 * Until when a grant may be believed: what the server said is left counts from before *the send
 * that is answered*. Counting from the newest send, or from the receipt of the reply, makes two
 * owners when a message is late.
 */
export function repliedValidity(sent: Instant, remainingMs: number): Validity {
  return { since: sent, forMs: remainingMs };
}

/** A send that was answered "not yet", and the server's clock when it was. */
export interface ServerSighting {
  readonly sent: Instant;
  readonly serverUs: number;
}

/** A grant that was pushed to a waiter: by whose clock it ends when, and how long it was written for. */
export interface PushedEnd {
  readonly endsUs: number;
  readonly ttlMs: number;
}

/**
 * Until when a grant that was pushed may be believed. The age of a message is unknown, so nothing
 * counts from its receipt: the server's clock was not before `serverUs` when the sighting was sent,
 * so what lies between that and the end has not passed before it has passed here. Without a sighting
 * (the message overtook the reply) the grant was written after the first send of its request.
 * Exhausted in test/unit/redis/lock-model.test.ts.
 */
export function pushedValidity(
  { endsUs, ttlMs }: PushedEnd,
  sighting: ServerSighting | undefined,
  firstSent: Instant,
  ttlMsMax: number,
): Validity {
  if (sighting === undefined) return { since: firstSent, forMs: ttlMs };
  const leftMs = (endsUs - sighting.serverUs) / 1_000;
  return { since: sighting.sent, forMs: Math.min(ttlMsMax, leftMs) };
}
