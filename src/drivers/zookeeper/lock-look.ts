import { type Instant, instantOf, leftAt, type Validity } from '../../core/clock.js';
import type { GrantRequest } from '../../lock/driver.js';
import type { ZookeeperStat } from './client.js';
import { expectOk, type Failure, type Reply } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { type Line, lineOf } from './lock-line.js';
import type { Reaper } from './reaper.js';
import type { NodeChildren, NodeData } from './requests.js';

/** A line as one listing showed it. */
export interface Listing {
  readonly line: Line;
  /** Of the directory, of the same moment. */
  readonly stat: ZookeeperStat;
  /** The directory's data and Stat of the moment before; for readers, who look for their epoch. */
  readonly before: NodeData | undefined;
  /** The session, proven by a request that was sent with the listing. */
  readonly validity: Validity;
}

/** What one attempt at a place is made with. */
export interface PlaceContext {
  readonly connection: Connection;
  readonly reaper: Reaper;
  readonly live: LiveSession;
  readonly directory: string;
  readonly request: GrantRequest;
  readonly grantId: string;
}

/** An attempt at a place: `'again'` under another grant id, because this one's fate is unknown. */
export type Taken = Listing | 'again';

/**
 * A session whose newest proof leaves this part of its time-out needs no other one for a grant: its
 * heartbeat, after every third, leaves more most of the time, and the engine is content with less.
 */
const RECENT_PART = 0.7;

/** The replies to a burst of reading. */
export interface Look {
  readonly children: Reply<NodeChildren>;
  readonly before: Reply<NodeData> | undefined;
}

/** Lists the line; for a reader the directory's data comes first, so that a change shows. */
export function look({ live, directory, request }: PlaceContext): Promise<Look> {
  const reading = request.mode === 'shared' ? live.ask.get(directory) : undefined;
  const listing = live.ask.children(directory);
  if (reading === undefined) return listing.then((children) => ({ children, before: undefined }));
  return Promise.all([reading, listing]).then(([before, children]) => ({ before, children }));
}

/** Lists the line afresh, with the proof that the session lives; `'again'` when it has ended. */
export async function relist(context: PlaceContext): Promise<Taken> {
  const { connection, live, directory } = context;
  for (;;) {
    if (live.ended.aborted) return 'again';
    if (!live.isConnected) await live.connected().catch(() => {});
    const since = instantOf(connection.clock);
    const [synced, seen] = await Promise.all([live.ask.sync(directory), look(context)]);
    const listing = synced.ok ? listingOf(context, seen, since) : undefined;
    if (listing !== undefined) return listing;
    const failures = [synced, seen.children, seen.before].filter((reply) => reply?.ok === false);
    if (failures.some((each) => (each as Failure).kind === 'no-node')) return 'again';
    for (const each of failures) if (isFinal(each)) expectOk(each, 'read a line');
  }
}

/**
 * The same after a place in front was heard to have gone, by a writer. The server that told it has that
 * in what it lists next, so no `sync` goes before; and the session counts as alive for what is left
 * from its newest proof, which the deletion was heard after, if that is recent.
 */
export async function relistAfterNews(context: PlaceContext): Promise<Taken> {
  const { connection, live } = context;
  const since = instantOf(connection.clock);
  const forMs = leftAt(live.validity, since);
  const isRecent = live.isConnected && forMs >= live.timeoutMs * RECENT_PART;
  if (!isRecent || live.ended.aborted || context.request.mode !== 'exclusive') {
    return relist(context);
  }
  const listing = listingOf(context, await look(context), since);
  return listing === undefined ? relist(context) : { ...listing, validity: { since, forMs } };
}

function isFinal(reply: Reply<unknown> | undefined): reply is Failure {
  return reply?.ok === false && reply.kind !== 'unknown' && reply.kind !== 'unsent';
}

/** Undefined when something was not answered. */
export function listingOf(
  { live, directory }: PlaceContext,
  { children, before }: Look,
  since: Instant,
): Listing | undefined {
  if (!children.ok || before?.ok === false) return undefined;
  const { names, stat } = children.value;
  return {
    line: lineOf(names, directory),
    stat,
    before: before?.value,
    validity: { since, forMs: live.timeoutMs },
  };
}
