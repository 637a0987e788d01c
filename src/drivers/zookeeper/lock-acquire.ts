import { abortable, abortScope, throwIfAborted } from '../../core/abort.js';
import { deferred } from '../../core/deferred.js';
import type { GrantRequest, LockNode } from '../../lock/driver.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { lineOf, type Place, type Standing, standingOf } from './lock-line.js';
import { type Listing, leavePlace, type PlaceContext, relist, takePlace } from './lock-place.js';
import type { Reaper } from './reaper.js';

/** What a won contention leaves: a place that holds. */
export interface WonPlace {
  readonly grantId: string;
  readonly live: LiveSession;
  readonly directory: string;
  readonly place: Place;
  readonly listing: Listing;
  readonly waiters: number;
}

/** What contending needs. */
export interface Contention {
  readonly connection: Connection;
  readonly reaper: Reaper;
  readonly node: LockNode;
}

/** A lost notice costs at most this, in milliseconds: the line is read again without one. */
const RECHECK_MS = 10_000;

/**
 * Contends until the place holds, through lost answers and new sessions. Undefined when the request
 * does not wait and somebody is in front. After a rejection nothing stays in line.
 */
export async function contend(
  contention: Contention,
  request: GrantRequest,
  directory: string,
): Promise<WonPlace | undefined> {
  const { connection, reaper } = contention;
  const { resource, signal } = request;
  for (;;) {
    throwIfAborted(signal);
    const live = await connection.current(`lock ${JSON.stringify(resource)}`, { signal });
    const context: PlaceContext = { connection, reaper, live, directory };
    if (!request.wait && (await isTaken(context, request))) return undefined;
    const outcome = await attempt(context, request, contention.node.nextGrantId());
    if (outcome === 'taken') return undefined;
    if (outcome !== 'again') return outcome;
  }
}

/** Whether somebody is in line, so that a request that does not wait need not write anything. */
async function isTaken(context: PlaceContext, { capacity }: GrantRequest): Promise<boolean> {
  const { live, directory } = context;
  const [, listed] = await Promise.all([live.ask.sync(directory), live.ask.children(directory)]);
  return listed.ok && capacity === 1 && lineOf(listed.value.names, directory).length > 0;
}

async function attempt(
  context: PlaceContext,
  request: GrantRequest,
  grantId: string,
): Promise<WonPlace | 'again' | 'taken'> {
  const { signal, capacity } = request;
  const taking = takePlace(context, request, grantId);
  let known: Place | undefined;
  try {
    let listing = await abortable(taking, signal);
    for (;;) {
      if (listing === 'again') break;
      const standing = standingOf(listing.line, grantId, capacity);
      known = listing.line.find((each) => each.grantId === grantId);
      if (standing.state === 'gone' || known === undefined) return 'again';
      if (standing.state === 'holds') {
        const { live, directory } = context;
        return { grantId, live, directory, place: known, listing, waiters: standing.waiters };
      }
      if (!request.wait) {
        await leavePlace(context, grantId, known.name);
        return 'taken';
      }
      await turn(context, standing, signal);
      listing = await abortable(relist(context), signal);
    }
  } catch (error) {
    // Whatever the creation comes to after all, its node goes.
    void taking.catch(() => {}).then(() => leavePlace(context, grantId, known?.name));
    throw error;
  }
  void leavePlace(context, grantId, known?.name);
  return 'again';
}

/** Waits until one of the places in front changes, or may have changed unseen. */
async function turn(
  { connection, live, directory }: PlaceContext,
  { behind }: Standing & { readonly state: 'waits' },
  signal: AbortSignal,
): Promise<void> {
  const changed = deferred<void>();
  const wake = (): void => changed.resolve();
  const stops = [live.onReconnect(wake)];
  for (const { name } of behind) {
    const path = `${directory}/${name}`;
    // Reading its data, because `exists` would leave a watch behind on a node that has gone.
    const watch = (): void => {
      void live.ask.get(path, true).then((reply) => {
        if (!reply.ok) wake();
      });
    };
    // A watch fires once, also when the holder only publishes its token.
    stops.push(live.onChange(path, (event) => (event === 'deleted' ? wake() : watch())));
    watch();
  }
  using scope = abortScope({
    clock: connection.clock,
    parents: [live.ended, signal],
    timeoutMs: RECHECK_MS,
  });
  scope.signal.addEventListener('abort', wake, { once: true });
  try {
    await abortable(changed.promise, signal);
  } finally {
    for (const stop of stops) stop();
  }
}
