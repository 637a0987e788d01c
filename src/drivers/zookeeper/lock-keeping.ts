import { abortable, abortScope } from '../../core/abort.js';
import { type Clock, instantOf, remainingMs } from '../../core/clock.js';
import type { RenewReply } from '../../lock/driver.js';
import { errorOf } from './codes.js';
import type { LiveSession } from './live-session.js';
import { encodePlace } from './lock-data.js';
import { firstTokenOf } from './lock-fence.js';
import { endedError, type HeldGrant } from './lock-grants.js';
import { lineOf, standingOf } from './lock-line.js';
import { isGone } from './lock-place.js';
import type { Reaper } from './reaper.js';
import { ANY_VERSION, type NodeChildren } from './requests.js';

/** A release tries for so long at least, also when its lease is as good as over. */
const MIN_PATIENCE_MS = 1_000;

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
      const [{ synced, validity }, listed] = await Promise.all([
        proof,
        live.ask.children(directory),
      ]);
      if (live.ended.aborted) return { state: 'lost' };
      if (!synced.ok) return { state: 'unknown', cause: errorOf(synced, 'renew a lease') };
      if (listed.ok) {
        const waiters = lookAround(held, listed.value);
        return waiters === undefined ? { state: 'lost' } : { state: 'held', validity, waiters };
      }
      if (listed.kind !== 'no-node') {
        return { state: 'unknown', cause: errorOf(listed, 'renew a lease') };
      }
      held.end(endedError(held.grant, 'its place in line was removed'));
      return { state: 'lost' };
    }),
  );
}

async function proofOf(clock: Clock, live: LiveSession) {
  const validity = { since: instantOf(clock), forMs: live.timeoutMs };
  return { synced: await live.ask.sync('/'), validity };
}

/** How many wait behind a grant; undefined, and its lease lost, when its place has gone. */
function lookAround(held: HeldGrant, { names }: NodeChildren): number | undefined {
  const line = lineOf(names, held.directory);
  const standing = standingOf(line, held.grant.grantId, held.capacity);
  if (standing.state === 'gone') {
    held.end(endedError(held.grant, 'its place in line was removed'));
    return undefined;
  }
  const waiters = standing.state === 'holds' ? standing.waiters : 0;
  held.noteWaiters(waiters);
  return waiters;
}

/**
 * Tells the engine when others come. The listing that granted has left a watch on the directory; it
 * is set again only while nobody waits, so that a long line costs its holder nothing.
 */
export function watchWaiters(held: HeldGrant): void {
  const { live, directory } = held;
  let waiters: number | undefined = held.grant.waiters;
  const look = async (): Promise<void> => {
    const listed = await live.ask.children(directory, true);
    if (listed.ok) waiters = lookAround(held, listed.value);
  };
  // A name of a newer release is reported by the next renewal; a hint need not.
  const lookSafely = (): void => void look().catch(() => {});
  held.onEnd(live.onReconnect(lookSafely));
  held.onEnd(
    live.onChange(directory, (event) => {
      if (event === 'child' && waiters === 0) lookSafely();
    }),
  );
}

/** Removes a grant's place. A removal whose answer was lost is sent again when the connection is back. */
export async function releaseGrant(
  clock: Clock,
  reaper: Reaper,
  held: HeldGrant,
  signal: AbortSignal | undefined,
): Promise<'released' | 'lost'> {
  const { live, path, grant } = held;
  const leftMs = remainingMs(clock, grant.validity);
  held.end();
  using scope = abortScope({
    clock,
    parents: [signal, live.ended],
    timeoutMs: Math.max(leftMs, MIN_PATIENCE_MS),
  });
  for (let isRepeated = false; ; isRepeated = true) {
    const removing = live.ask.remove(path);
    const removed = await abortable(removing, scope.signal).catch(() => undefined);
    if (removed?.ok) return 'released';
    // After an answer that was lost, a place that is gone is the one that we removed.
    if (removed?.kind === 'no-node') return isRepeated ? 'released' : 'lost';
    if (live.ended.aborted) return 'lost';
    const isHopeless = removed === undefined || removed.kind === 'refused';
    const isBack = !isHopeless && (await isConnectedAgain(live, scope.signal));
    if (isBack) continue;
    reaper.undo(live, async () => (isGone(await live.ask.remove(path)) ? 'done' : 'again'));
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
  signal: AbortSignal | undefined,
): Promise<bigint | undefined> {
  const { live, path, data, grant } = held;
  for (;;) {
    if (live.ended.aborted) return undefined;
    const written = await abortable(live.ask.set(path, encodePlace(data), ANY_VERSION), signal);
    if (written.ok) return firstTokenOf(written.value.mzxid);
    if (written.kind === 'no-node') {
      held.end(endedError(grant, 'its place in line was removed'));
      return undefined;
    }
    const isUnanswered = written.kind === 'unknown' || written.kind === 'unsent';
    if (!isUnanswered) throw errorOf(written, `reserve tokens for ${grant.resource}`);
    await live.connected(signal).catch(() => {});
    signal?.throwIfAborted();
  }
}
