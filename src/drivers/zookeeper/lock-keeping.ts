import { abortable, abortScope } from '../../core/abort.js';
import { type Clock, instantOf, remainingMs } from '../../core/clock.js';
import type { RenewReply } from '../../lock/driver.js';
import { errorOf, type Reply } from './codes.js';
import type { LiveSession } from './live-session.js';
import { encodePlace } from './lock-data.js';
import { firstTokenOf } from './lock-fence.js';
import type { HeldGrant } from './lock-grants.js';
import { isGone } from './lock-place.js';
import { type Bounds, soon } from './lock-soon.js';
import { lookAround, loseByForce } from './lock-watch.js';
import type { Reaper } from './reaper.js';
import { ANY_VERSION } from './requests.js';

/** A release tries for so long at least, also when its lease is as good as over. */
const MIN_PATIENCE_MS = 1_000;
/** What is left of a validity whose holder gave it up for lost: the margin for drift, and a bit. */
const OVER_PART = 0.02;
const OVER_MS = 5;

/**
 * Renews grants in one round trip a session: a `sync` goes through the leader, which proves the
 * session alive when it was sent, and the listings behind it show that the places still stand.
 * `undefined` is a grant that has ended.
 */
export function renewGrants(
  clock: Clock,
  grants: readonly (HeldGrant | undefined)[],
): Promise<readonly RenewReply[]> {
  const proofs = new Map<LiveSession, ReturnType<typeof proofOf>>();
  return Promise.all(
    grants.map(async (held): Promise<RenewReply> => {
      if (held === undefined) return { state: 'lost' };
      const { live, directory } = held;
      const proof = proofs.get(live) ?? proofOf(clock, live);
      proofs.set(live, proof);
      const listing = live.ask.children(directory);
      const [{ synced, validity }, listed] = [await proof, await listing];
      if (live.ended.aborted) return { state: 'lost' };
      if (!synced.ok) return { state: 'unknown', cause: errorOf(synced, 'renew a lease') };
      const waiters = listed.ok ? lookAround(held, listed.value) : undefined;
      if (waiters !== undefined) return { state: 'held', validity, waiters };
      if (!listed.ok && listed.kind !== 'no-node') {
        return { state: 'unknown', cause: errorOf(listed, 'renew a lease') };
      }
      await loseByForce(held);
      return { state: 'lost' };
    }),
  );
}

async function proofOf(clock: Clock, live: LiveSession) {
  const validity = { since: instantOf(clock), forMs: live.timeoutMs };
  return { synced: await live.ask.sync('/'), validity };
}

/**
 * Removes a grant's place, and its guard before that, unless the lease was lost: then the next one
 * waits. A removal whose answer was lost is sent again when the connection is back.
 */
export function releaseGrant(
  bounds: Bounds,
  reaper: Reaper,
  held: HeldGrant,
  signal: AbortSignal | undefined,
): Promise<'released' | 'lost'> {
  const leftMs = remainingMs(bounds.clock, held.validity);
  const isOver = leftMs <= held.validity.forMs * OVER_PART + OVER_MS;
  held.end();
  const { live, path, guardPath } = held;
  const remove = (): Promise<Reply<void>> => {
    if (guardPath !== undefined && !isOver) void live.ask.remove(guardPath);
    return live.ask.remove(path);
  };
  const first = remove();
  const insist = (): Promise<'released' | 'lost'> =>
    removePlace({ ...bounds, reaper, held, signal, leftMs, remove }, first);
  if (signal !== undefined) return insist();
  return soon(bounds, first, ({ ok }) => (ok ? 'released' : undefined), insist);
}

/** A removal under way, for as long as the lease has left. */
interface Removal {
  readonly clock: Clock;
  readonly reaper: Reaper;
  readonly held: HeldGrant;
  readonly signal: AbortSignal | undefined;
  readonly leftMs: number;
  remove(): Promise<Reply<void>>;
}

async function removePlace(
  { clock, reaper, held, signal, leftMs, remove }: Removal,
  first: Promise<Reply<void>>,
): Promise<'released' | 'lost'> {
  const { live, grant } = held;
  using scope = abortScope({
    clock,
    parents: [signal, live.ended],
    timeoutMs: Math.max(leftMs, MIN_PATIENCE_MS),
  });
  for (let isRepeated = false; ; isRepeated = true) {
    const removing = isRepeated ? remove() : first;
    const removed = await abortable(removing, scope.signal).catch(() => undefined);
    if (removed?.ok) return 'released';
    // After an answer that was lost, a place that is gone is the one that we removed.
    if (removed?.kind === 'no-node') return isRepeated ? 'released' : 'lost';
    if (live.ended.aborted) return 'lost';
    const isHopeless = removed === undefined || removed.kind === 'refused';
    const isBack = !isHopeless && (await isConnectedAgain(live, scope.signal));
    if (isBack) continue;
    // The session took the place with it, perhaps before this was asked: it is not ours to tell.
    if (live.ended.aborted) return 'lost';
    reaper.undo(live, async () => (isGone(await remove()) ? 'done' : 'again'));
    const failure = removed ?? ({ ok: false, kind: 'unknown', rc: 0 } as const);
    throw errorOf(failure, `release ${JSON.stringify(grant.resource)}`);
  }
}

async function isConnectedAgain(live: LiveSession, signal: AbortSignal): Promise<boolean> {
  try {
    await live.connected(signal);
    return true;
  } catch {
    return false;
  }
}

/** A further block of tokens, from the zxid of a write to the own place: above all earlier ones. */
export async function reserveBlock(
  held: HeldGrant,
  tokens: number,
  signal: AbortSignal | undefined,
): Promise<bigint | undefined> {
  const { live, path } = held;
  const operation = `reserve tokens for ${JSON.stringify(held.grant.resource)}`;
  // Readers may stand beside a writer whose downgrade was not answered: it must write no more.
  if (held.isEither) throw errorOf({ ok: false, kind: 'unknown', rc: 0 }, operation);
  for (;;) {
    if (live.ended.aborted) return undefined;
    const writing = live.ask.set(path, encodePlace(held.data()), ANY_VERSION);
    const written = await abortable(writing, signal);
    if (written.ok) {
      const first = firstTokenOf(written.value.mzxid);
      held.lastToken = first + BigInt(tokens - 1);
      return first;
    }
    if (written.kind === 'no-node') {
      await loseByForce(held);
      return undefined;
    }
    const isUnanswered = written.kind === 'unknown' || written.kind === 'unsent';
    if (!isUnanswered) throw errorOf(written, operation);
    await live.connected(signal).catch(() => {});
    signal?.throwIfAborted();
  }
}
