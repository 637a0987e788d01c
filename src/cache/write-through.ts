import { instantOf } from '../core/clock.js';
import { CoordinationError, isCoordinationError } from '../core/errors.js';
import type { Fill } from './authority.js';
import { keepClaim, newToken } from './claims.js';
import type { Deck } from './deck.js';
import type { Isolated } from './isolation.js';
import { lifetimeOf } from './lifetime.js';
import { agingFill } from './load-call.js';
import { keepNear } from './near.js';
import type { WriteOptions } from './writing.js';

/** A write to the source with the value that the key has afterwards. */
export interface Through<Result> {
  readonly key: string;
  readonly value: Isolated;
  readonly commit: () => Result | Promise<Result>;
  readonly options: WriteOptions;
}

/** Held: another writer has the key, and nothing was done. */
type Written<Result> =
  | { readonly isHeld: true }
  | { readonly isHeld: false; readonly result: Awaited<Result> };

/**
 * Takes the lease from everybody, commits, and fills with the lease: a load that began before is
 * refused, and of two writers that overlap the one that lost its lease removes the entry instead, as
 * nobody here knows whose commit was the last. A process that dies in between leaves no entry.
 */
export async function writeThrough<Result>(
  deck: Deck,
  { key, value, commit, options }: Through<Result>,
): Promise<Written<Result>> {
  const { tiers, settings } = deck;
  const { authority, near } = tiers;
  const { clock, random, aging } = settings;
  const { ttlMs, timeoutMs, fence, tags } = options;
  const token = newToken(random);
  near?.delete(key);
  const moment = near?.tags.moment;
  let fill = agingFill(clock, value, lifetimeOf(aging, random, { ttlMs }));
  try {
    if (tags.length > 0) fill = await stamped(deck, fill, tags, timeoutMs);
    if ((await authority.seize(key, token, timeoutMs, fence)) === 'held') return { isHeld: true };
  } catch (error) {
    throw toldCommitted(error, false);
  }
  const stop = keepClaim(deck, key, { kind: 'lease', token });
  let result: Awaited<Result>;
  try {
    result = await commit();
  } catch (error) {
    stop();
    near?.delete(key);
    // Whether it was committed is not known here.
    await authority.invalidate(key, undefined, timeoutMs).catch(() => {});
    throw error;
  }
  near?.delete(key);
  const ticket = near?.begin(key);
  const since = instantOf(clock);
  try {
    const answer = await authority.store(key, token, fill, timeoutMs);
    const validity = { since, forMs: fill.ttlMs };
    if (answer === 'accepted') keepNear(deck, ticket, fill.value, validity, moment);
    else await authority.invalidate(key, undefined, timeoutMs);
  } catch (error) {
    near?.delete(key);
    throw toldCommitted(error, true);
  } finally {
    stop();
    if (ticket !== undefined) near?.end(ticket);
  }
  return { isHeld: false, result };
}

/** A fill with the versions of its tags now. */
export async function stamped(
  { tiers: { authority } }: Deck,
  { value, ttlMs }: Fill,
  tags: readonly string[],
  timeoutMs: number,
): Promise<Fill> {
  const answer = await authority.tags?.demandStamps(tags, ttlMs, timeoutMs);
  return { value: value && { ...value, tags: answer?.stamps }, ttlMs };
}

/** Says in the error of an update on which side of the commit it happened. */
export function toldCommitted(error: unknown, isCommitted: boolean): unknown {
  if (!isCoordinationError(error, 'CACHE_TIER_UNREACHABLE')) return error;
  const told = isCommitted ? 'committed, but' : 'not committed:';
  const details = { ...error.details, isCommitted };
  return new CoordinationError('CACHE_TIER_UNREACHABLE', `${told} ${error.message}`, details, {
    cause: error.cause,
  });
}
