import { type Instant, instantOf, type Validity } from '../../core/clock.js';
import type { GrantRequest } from '../../lock/driver.js';
import { CREATE, type ZookeeperStat } from './client.js';
import { errorOf, expectOk, type Reply } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { encodePlace } from './lock-data.js';
import { lineOf, type Place, placePrefix } from './lock-line.js';
import type { Reaper } from './reaper.js';
import type { NodeChildren } from './requests.js';

/** A line as one listing showed it. */
export interface Listing {
  readonly line: readonly Place[];
  /** Of the directory, of the same moment. */
  readonly stat: ZookeeperStat;
  /** The session, proven by a request that was sent with the listing. */
  readonly validity: Validity;
}

/** What taking places needs. */
export interface PlaceContext {
  readonly connection: Connection;
  readonly reaper: Reaper;
  readonly live: LiveSession;
  readonly directory: string;
}

/** An attempt at a place: `'again'` under another grant id, because this one's fate is unknown. */
export type Taken = Listing | 'again';

/** How often a listing may come too early because the directory has just gone. */
const DIRECTORY_TRIES = 5;
/** How often a place that is not there is looked for; with the reaper's backoff, some seconds. */
const MISSING_CHECKS = 10;

/**
 * Stands in line: creates the place and lists the line in one burst, because the session answers in
 * order, so that the listing includes the place. A create whose answer was lost is looked for by its
 * grant id. Never rejects for a place that may exist; the caller leaves it by its grant id.
 */
export async function takePlace(
  context: PlaceContext,
  request: GrantRequest,
  grantId: string,
): Promise<Taken> {
  const { connection, live, directory } = context;
  const { mode, permits, owner, capacity } = request;
  const path = `${directory}/${placePrefix({ grantId, mode, permits })}`;
  const data = encodePlace({ owner, capacity });
  for (let attempt = 0; ; attempt += 1) {
    const since = instantOf(connection.clock);
    const creating = live.ask.create(path, data, CREATE.ephemeralSequential);
    const listing = live.ask.children(directory, true);
    const [created, listed] = await Promise.all([creating, listing]);
    if (created.ok) {
      const own = listed.ok ? listingOf(context, listed.value, since) : undefined;
      return own ?? relist(context);
    }
    if (created.kind === 'unknown') return adopt(context, grantId);
    if (created.kind === 'unsent') return 'again';
    const isMissing = created.kind === 'no-node' && attempt < DIRECTORY_TRIES;
    if (!isMissing) throw errorOf(created, `stand in line for ${request.resource}`);
    // The server removes an empty container some time after its last child.
    await connection.ensure(live, directory, CREATE.container);
  }
}

/** Looks for a place whose creation was not answered; what is not there yet may still appear. */
async function adopt(context: PlaceContext, grantId: string): Promise<Taken> {
  const { live } = context;
  const listing = await relist(context);
  if (listing === 'again') return 'again';
  const own = listing.line.find((place) => place.grantId === grantId);
  if (own === undefined) return 'again';
  const stat = await live.ask.exists(`${context.directory}/${own.name}`);
  return stat.ok && stat.value.ephemeralOwner === live.id ? listing : 'again';
}

/** Lists the line afresh, with the proof that the session lives; `'again'` when it has ended. */
export async function relist(context: PlaceContext): Promise<Taken> {
  const { connection, live, directory } = context;
  for (;;) {
    if (live.ended.aborted) return 'again';
    await live.connected().catch(() => {});
    const since = instantOf(connection.clock);
    const syncing = live.ask.sync(directory);
    const [synced, listed] = await Promise.all([syncing, live.ask.children(directory, true)]);
    if (synced.ok && listed.ok) return listingOf(context, listed.value, since);
    if (!listed.ok && listed.kind === 'no-node') return 'again';
    if (isFinal(synced)) expectOk(synced, 'read a line');
    if (isFinal(listed)) expectOk(listed, 'read a line');
  }
}

function isFinal(reply: Reply<unknown>): boolean {
  return !reply.ok && reply.kind !== 'unknown' && reply.kind !== 'unsent';
}

function listingOf(
  { live, directory }: PlaceContext,
  { names, stat }: NodeChildren,
  since: Instant,
): Listing {
  return { line: lineOf(names, directory), stat, validity: { since, forMs: live.timeoutMs } };
}

/** Leaves the line: at once where the place is known, else whenever its creation shows up. */
export async function leavePlace(
  context: PlaceContext,
  grantId: string,
  name: string | undefined,
): Promise<void> {
  const { live, directory, reaper } = context;
  if (name !== undefined) {
    const removed = await live.ask.remove(`${directory}/${name}`);
    if (isGone(removed)) return;
  }
  let checksLeft = MISSING_CHECKS;
  reaper.undo(live, async () => {
    const synced = live.ask.sync(directory);
    const [proof, listed] = await Promise.all([synced, live.ask.children(directory)]);
    if (!proof.ok || !(listed.ok || listed.kind === 'no-node')) return 'again';
    const names = listed.ok ? listed.value.names : [];
    const own = names.find((each) => each.startsWith(`${grantId}-`));
    if (own !== undefined) {
      return isGone(await live.ask.remove(`${directory}/${own}`)) ? 'done' : 'again';
    }
    // A create can still be on its way through the connection that was lost.
    checksLeft -= 1;
    return checksLeft === 0 ? 'done' : 'again';
  });
}

/** Whether a removal left nothing. */
export function isGone(removed: Reply<void>): boolean {
  return removed.ok || removed.kind === 'no-node';
}
