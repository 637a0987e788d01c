import { abortable, throwIfAborted } from '../../core/abort.js';
import type { Alarms } from '../../core/alarms.js';
import type { Validity } from '../../core/clock.js';
import type { GrantRequest, LockNode } from '../../lock/driver.js';
import { capacityMismatchError } from '../../lock/errors.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { claimPlace } from './lock-claim.js';
import {
  countedCapacity,
  lineOf,
  otherCapacity,
  type Place,
  standingOf,
  withDowngraded,
} from './lock-line.js';
import {
  type Listing,
  type PlaceContext,
  relist,
  relistAfterNews,
  type Taken,
} from './lock-look.js';
import { askForPlace, leavePlace, type PlaceBurst, takePlace } from './lock-place.js';
import { noteDowngraded, turn } from './lock-turn.js';
import type { Reaper } from './reaper.js';

/** What a won contention leaves: a place that holds. */
export interface WonPlace {
  readonly context: PlaceContext;
  /** Of the place. */
  readonly name: string;
  readonly fencingToken: bigint | undefined;
  readonly validity: Validity;
  readonly waiters: number;
  /** Writers in front that hold a shared grant by now, as this reader has learnt. */
  readonly downgraded: ReadonlySet<string>;
}

/** What contending needs. */
export interface Contention {
  readonly connection: Connection;
  readonly reaper: Reaper;
  readonly node: LockNode;
  readonly alarms: Alarms;
}

/** A first attempt that is under way. */
export interface FirstAttempt {
  readonly context: PlaceContext;
  readonly burst: PlaceBurst;
}

/** Sends the first requests of an attempt, under a grant id of its own. */
export function beginAttempt(
  { connection, reaper, node }: Contention,
  live: LiveSession,
  request: GrantRequest,
  directory: string,
): FirstAttempt {
  const grantId = node.nextGrantId();
  const context: PlaceContext = { connection, reaper, live, directory, request, grantId };
  return { context, burst: askForPlace(context) };
}

/**
 * Contends until the place holds, through lost answers and new sessions. Undefined when the request
 * does not wait and somebody is in front. After a rejection nothing stays in line.
 */
export async function contendAtLength(
  { connection, reaper, node }: Contention,
  request: GrantRequest,
  directory: string,
  first?: FirstAttempt,
): Promise<WonPlace | undefined> {
  const { resource, signal } = request;
  if (first !== undefined) {
    const outcome = await attempt(first.context, first.burst);
    if (outcome !== 'again') return outcome === 'taken' ? undefined : outcome;
  }
  for (;;) {
    throwIfAborted(signal);
    const live = await connection.current(`lock ${JSON.stringify(resource)}`, { signal });
    const grantId = node.nextGrantId();
    const context: PlaceContext = { connection, reaper, live, directory, request, grantId };
    if (!request.wait && (await abortable(isTaken(context), signal))) return undefined;
    const outcome = await attempt(context);
    if (outcome === 'taken') return undefined;
    if (outcome !== 'again') return outcome;
  }
}

/** Whether a place would have to wait, so that a request that does not need not write anything. */
async function isTaken(context: PlaceContext): Promise<boolean> {
  const { live, directory, request, grantId } = context;
  const [, listed] = await Promise.all([live.ask.sync(directory), live.ask.children(directory)]);
  if (!listed.ok) return false;
  const { places } = lineOf(listed.value.names, directory);
  refuseOtherCapacity(context, places);
  const { mode, permits, capacity } = request;
  const own: Place = { name: '', grantId, mode, permits, capacity, sequence: 0 };
  const standing = standingOf([...places, own], grantId);
  if (standing.state !== 'waits') return false;
  return standing.until !== 'shares' || !(await noteDowngraded(context, standing, new Set()));
}

/** Whoever is in front of the first listing decides how the resource is shared. */
function refuseOtherCapacity({ request, grantId }: PlaceContext, places: readonly Place[]): void {
  const { resource, mode, permits, capacity } = request;
  const other = otherCapacity(places, { grantId, mode, permits, capacity });
  if (other !== undefined) throw capacityMismatchError(resource, countedCapacity(request), other);
}

async function attempt(
  context: PlaceContext,
  burst: PlaceBurst = askForPlace(context),
): Promise<WonPlace | 'again' | 'taken'> {
  const { request, grantId } = context;
  const { signal } = request;
  const taking: Promise<Taken> = takePlace(context, burst);
  const place: { name?: string | undefined } = {};
  try {
    const first = await abortable(taking, signal);
    if (first === 'again') return await leave(context, place.name);
    place.name = first.line.places.find((each) => each.grantId === grantId)?.name;
    refuseOtherCapacity(context, first.line.places);
    const outcome = await waitInLine(context, first);
    // What was won stays; what was not is left, also where nobody knows whether it is there.
    return typeof outcome === 'object' ? outcome : await leave(context, place.name, outcome);
  } catch (error) {
    // Whatever the creation comes to after all, its node goes.
    void taking.catch(() => {}).then(() => leavePlace(context, place.name));
    throw error;
  }
}

async function leave<Outcome extends 'again' | 'taken'>(
  context: PlaceContext,
  name: string | undefined,
  outcome: Outcome = 'again' as Outcome,
): Promise<Outcome> {
  const leaving = leavePlace(context, name);
  if (outcome === 'taken') await leaving;
  return outcome;
}

/** From listing to listing, until the place holds, or is gone, or would have to wait and may not. */
async function waitInLine(
  context: PlaceContext,
  first: Listing,
): Promise<WonPlace | 'again' | 'taken'> {
  const { request, grantId } = context;
  const { signal } = request;
  const downgraded = new Set<string>();
  for (let listing = first; ; ) {
    let relisting = relist;
    const places = withDowngraded(listing.line.places, downgraded);
    const standing = standingOf(places, grantId);
    const place = places.find((each) => each.grantId === grantId);
    if (standing.state === 'gone' || place === undefined) return 'again';
    if (standing.state === 'holds') {
      const claim = await claimPlace(context, listing);
      if (claim.state === 'delayed') return 'taken';
      if (claim.state === 'granted') {
        const { fencingToken } = claim;
        const { waiters } = standing;
        const { validity } = listing;
        return { context, name: place.name, fencingToken, validity, waiters, downgraded };
      }
    } else if (request.wait) {
      const news = await turn(context, standing, downgraded);
      if (news === 'gone') relisting = relistAfterNews;
    } else if (!(await noteDowngraded(context, standing, downgraded))) {
      return 'taken';
    }
    const next = await abortable(relisting(context), signal);
    if (next === 'again') return 'again';
    listing = next;
  }
}
