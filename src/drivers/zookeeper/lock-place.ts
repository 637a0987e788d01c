import { type Instant, instantOf } from '../../core/clock.js';
import { CREATE } from './client.js';
import { errorOf, type Reply } from './codes.js';
import { encodePlace } from './lock-data.js';
import { guardName, noticeName, placePrefix } from './lock-line.js';
import { type Look, listingOf, look, type PlaceContext, relist, type Taken } from './lock-look.js';

/** How often a listing may come too early because the directory has just gone. */
const DIRECTORY_TRIES = 5;
/** How often a place that is not there is looked for; with the reaper's backoff, some seconds. */
const MISSING_CHECKS = 10;

/** A place that was asked for, and a look at the line, sent in one burst. */
export interface PlaceBurst {
  /** From before it was sent. */
  readonly since: Instant;
  readonly creating: Promise<Reply<string>>;
  readonly looking: Promise<Look>;
}

/**
 * Creates the place and lists the line in one burst, because the session answers in order, so that
 * the listing includes the place.
 */
export function askForPlace(context: PlaceContext): PlaceBurst {
  const { connection, live, directory, request, grantId } = context;
  const { mode, permits, capacity, owner } = request;
  const path = `${directory}/${placePrefix({ grantId, mode, permits, capacity })}`;
  const since = instantOf(connection.clock);
  const creating = live.ask.create(path, encodePlace({ owner }), CREATE.ephemeralSequential);
  return { since, creating, looking: look(context) };
}

/**
 * Stands in line, with the burst that was sent for it. A create whose answer was lost is looked for by
 * its grant id. Never rejects for a place that may exist; the caller leaves it by its grant id.
 */
export async function takePlace(context: PlaceContext, burst: PlaceBurst): Promise<Taken> {
  const { connection, live, directory, request } = context;
  for (let attempt = 0; ; attempt += 1) {
    const { since, creating, looking } = attempt === 0 ? burst : askForPlace(context);
    const created = await creating;
    if (created.ok) return listingOf(context, await looking, since) ?? relist(context);
    const listed = await looking;
    if (created.kind === 'unknown') return adopt(context);
    if (created.kind === 'unsent') return 'again';
    const isMissing = created.kind === 'no-node' && attempt < DIRECTORY_TRIES;
    if (!isMissing) throw errorOf(created, `stand in line for ${JSON.stringify(request.resource)}`);
    // The server removes an empty container some time after its last child.
    if (!listed.children.ok) await connection.ensure(live, directory, CREATE.container);
  }
}

/** Looks for a place whose creation was not answered; what is not there yet may still appear. */
async function adopt(context: PlaceContext): Promise<Taken> {
  const { live, directory, grantId } = context;
  const listing = await relist(context);
  if (listing === 'again') return 'again';
  const own = listing.line.places.find((place) => place.grantId === grantId);
  if (own === undefined) return 'again';
  const stat = await live.ask.exists(`${directory}/${own.name}`);
  return stat.ok && stat.value.ephemeralOwner === live.id ? listing : 'again';
}

/**
 * Leaves the line: at once where the place is known, else whenever its creation shows up. Its guard
 * goes first, so that it does not count as left behind; or it stays, to delay whoever comes next.
 */
export async function leavePlace(
  context: PlaceContext,
  name: string | undefined,
  guard: 'goes' | 'stays' = 'goes',
): Promise<void> {
  const { live, directory, reaper, grantId, request } = context;
  const hasGuard = guard === 'goes' && request.lockDelayMs;
  if (name !== undefined) {
    const removed = await Promise.all([
      ...(hasGuard ? [live.ask.remove(guardPath(context, hasGuard))] : []),
      live.ask.remove(`${directory}/${name}`),
    ]);
    if (removed.every(isGone)) return;
  }
  let checksLeft = MISSING_CHECKS;
  reaper.undo(live, async () => {
    const synced = live.ask.sync(directory);
    const [proof, listed] = await Promise.all([synced, live.ask.children(directory)]);
    if (!proof.ok || !(listed.ok || listed.kind === 'no-node')) return 'again';
    const names = listed.ok ? listed.value.names : [];
    const own = names.filter((each) => each.startsWith(`${grantId}-`));
    const left = own.filter((each) => mayGo(each, grantId, guard)).sort(guardsFirst);
    if (left.length > 0) {
      const removed = left.map((each) => live.ask.remove(`${directory}/${each}`));
      return (await Promise.all(removed)).every(isGone) ? 'done' : 'again';
    }
    // A create can still be on its way through the connection that was lost.
    checksLeft -= 1;
    return checksLeft === 0 ? 'done' : 'again';
  });
}

/** Where the guard of a grant stands. */
export function guardPath(
  { directory, grantId }: Pick<PlaceContext, 'directory' | 'grantId'>,
  lockDelayMs: number,
): string {
  return `${directory}/${guardName(grantId, lockDelayMs)}`;
}

/** A guard ends in `-d‹ms›`, a place in its sequence. */
const isGuard = (name: string): boolean => /-d\d+$/.test(name);

const guardsFirst = (one: string, other: string): number =>
  Number(isGuard(other)) - Number(isGuard(one));

function mayGo(name: string, grantId: string, guard: 'goes' | 'stays'): boolean {
  return name !== noticeName(grantId) && (guard === 'goes' || !isGuard(name));
}

/** Whether a removal left nothing. */
export function isGone(removed: Reply<void>): boolean {
  return removed.ok || removed.kind === 'no-node';
}
