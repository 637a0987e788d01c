import { setTimeout as sleep } from 'node:timers/promises';
import { isCoordinationError } from 'tricord';
import type { Told } from './books.js';
import type { Buyer } from './offer.js';
import { type Attempt, type Till, takeOrder } from './take-order.js';

/** All that happened to one buyer at one node. */
export interface Service {
  readonly orderId: string;
  readonly answer: Told['answer'];
  readonly attempts: readonly Attempt[];
}

const PATIENCE_MS = 60_000;
const PAUSE_MS = 50;

/**
 * Serves a buyer until there is an answer. An attempt that failed, or whose outcome is in doubt, is
 * simply made again: the order's id is the buyer's, so an order is never written twice.
 */
export async function serveBuyer(till: Till, buyer: Buyer): Promise<Service> {
  const { orderId } = buyer;
  const startedAt = performance.now();
  const attempts: Attempt[] = [];
  while (performance.now() - startedAt < PATIENCE_MS) {
    const attempt = await tryOnce(till, buyer);
    attempts.push(attempt);
    const answer = answerOf(attempt);
    if (answer !== undefined) return { orderId, answer, attempts };
    await sleep(PAUSE_MS);
  }
  return { orderId, answer: 'unknown', attempts };
}

async function tryOnce(till: Till, buyer: Buyer): Promise<Attempt> {
  try {
    return await takeOrder(till, buyer);
  } catch (error) {
    // A coordination error says that this attempt did not begin; anything else is a fault of the shop.
    if (!isCoordinationError(error)) throw error;
    return { state: 'failed', reason: error.code };
  }
}

function answerOf(attempt: Attempt): Told['answer'] | undefined {
  if (attempt.state === 'sold') return 'sold';
  if (attempt.state !== 'refused') return undefined;
  // An earlier attempt had succeeded, here or on a node that died before it could say so.
  return attempt.reason === 'already ordered' ? 'sold' : attempt.reason;
}
