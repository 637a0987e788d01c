import { abortable, abortScope, sleep } from '../../core/abort.js';
import { errorOf, type Failure, type Reply } from './codes.js';
import { decodeEpoch, encodeEpoch } from './lock-data.js';
import { firstTokenOf } from './lock-fence.js';
import type { Guard } from './lock-line.js';
import type { Listing, PlaceContext } from './lock-look.js';
import { guardPath } from './lock-place.js';
import { ANY_VERSION } from './requests.js';

/** What a place that is at the head must do before it is a grant, and what it is then worth. */
export type Claim =
  | { readonly state: 'granted'; readonly fencingToken: bigint | undefined }
  /** Another listing decides. */
  | { readonly state: 'look-again' }
  /** The delay that a lost holder left is not over, and the request does not wait. */
  | { readonly state: 'delayed' };

const LOOK_AGAIN: Claim = { state: 'look-again' };
const DELAY_OVER: Buffer = Buffer.from('{"v":1,"state":"left behind"}');
const NO_DATA: Buffer = Buffer.alloc(0);

/**
 * Turns a place that has room into a grant: serves the delay of a lost holder, opens or closes the
 * epoch of readers, and leaves its own guard. Most grants need none of it, and send nothing.
 */
export async function claimPlace(context: PlaceContext, listing: Listing): Promise<Claim> {
  const { request } = context;
  const { places, guards } = listing.line;
  const left = guards.find(({ grantId }) => places.every((place) => place.grantId !== grantId));
  if (left !== undefined) return serveDelay(context, left);
  const token = request.mode === 'shared' ? await epochOf(context, listing) : undefined;
  if (request.mode === 'shared' && token === undefined) return LOOK_AGAIN;
  if (request.mode === 'exclusive' && !(await endEpoch(context, listing))) return LOOK_AGAIN;
  if (!(await leaveGuard(context))) return LOOK_AGAIN;
  const fencingToken = request.mode === 'exclusive' ? firstTokenOf(listing.stat.pzxid) : token;
  return { state: 'granted', fencingToken };
}

/**
 * The token of all readers since the last writer: the first of them writes it into the directory. It
 * comes from the listing that grants, and so lies above all that the last writer had, and below what
 * the next one gets. Undefined when another reader was first or the answer was lost.
 *
 * The data was read before the listing that shows the own place with room; when it has not changed
 * between the two, no writer has held since it was written, because a writer empties it.
 */
async function epochOf(context: PlaceContext, listing: Listing): Promise<bigint | undefined> {
  const { live, directory, request } = context;
  const { before, stat } = listing;
  if (before === undefined || before.stat.version !== stat.version) return undefined;
  const known = decodeEpoch(before.data, directory);
  if (known !== undefined) return known;
  const epoch = firstTokenOf(stat.pzxid);
  const writing = live.ask.set(directory, encodeEpoch(epoch), stat.version);
  const written = await abortable(writing, request.signal);
  if (written.ok) return epoch;
  refuse(written, context);
  return undefined;
}

/** Before a writer is granted after readers: the next readers will have an epoch of their own. */
async function endEpoch(context: PlaceContext, { stat }: Listing): Promise<boolean> {
  const { live, directory, request } = context;
  if (stat.dataLength === 0) return true;
  const emptied = await abortable(live.ask.set(directory, NO_DATA, ANY_VERSION), request.signal);
  refuse(emptied, context);
  return emptied.ok;
}

/** Leaves the guard of a grant with a lock delay; sent twice it is there once. */
async function leaveGuard(context: PlaceContext): Promise<boolean> {
  const { live, connection, request } = context;
  if (!request.lockDelayMs) return true;
  const path = guardPath(context, request.lockDelayMs);
  const left = await abortable(connection.createPersistent(live, path, NO_DATA), request.signal);
  if (left.ok || left.kind === 'exists') return true;
  refuse(left, context);
  return false;
}

/**
 * Waits until the delay after a lost holder is over, and removes its guard. It counts from the mark
 * that the first one to see the guard alone put on it, by the leader's clock, and for nobody longer
 * than from when he saw it himself.
 */
async function serveDelay(context: PlaceContext, guard: Guard): Promise<Claim> {
  const { connection, live, directory, request } = context;
  const path = `${directory}/${guard.name}`;
  const { signal } = request;
  const marked = await abortable(markLeftBehind(context, path), signal);
  if (marked === undefined) return LOOK_AGAIN;
  const nowMs = await connection.serverTimeMs(live);
  const leftMs = Math.min(guard.delayMs, marked + guard.delayMs - nowMs);
  if (leftMs > 0) {
    if (!request.wait) return { state: 'delayed' };
    using scope = abortScope({ clock: connection.clock, parents: [signal, live.ended] });
    // A session that ended meanwhile has lost its place, which the next listing shows.
    await sleep(connection.clock, leftMs, { signal: scope.signal }).catch(() => {});
    signal.throwIfAborted();
  }
  await abortable(live.ask.remove(path), signal);
  return LOOK_AGAIN;
}

/** Since when a guard is known to stand alone, by the leader's clock; undefined to look again. */
async function markLeftBehind(
  { connection, live }: PlaceContext,
  path: string,
): Promise<number | undefined> {
  const read = await live.ask.get(path);
  if (!read.ok) return undefined;
  const { stat } = read.value;
  if (stat.version > 0) return stat.mtime.getTime();
  const written = await live.ask.set(path, DELAY_OVER, stat.version);
  if (!written.ok) return undefined;
  connection.noteServerTime(written.value);
  return written.value.mtime.getTime();
}

/** What another listing cannot help is thrown. */
function refuse(reply: Reply<unknown>, { request }: PlaceContext): void {
  const failure = reply.ok ? undefined : (reply as Failure);
  if (failure?.kind !== 'refused') return;
  throw errorOf(failure, `lock ${JSON.stringify(request.resource)}`);
}
