import { abortable } from '../../core/abort.js';
import { type Clock, instantOf } from '../../core/clock.js';
import type { Grant } from '../../lock/driver.js';
import { errorOf } from './codes.js';
import { encodeEpoch, encodePlace } from './lock-data.js';
import type { HeldGrant } from './lock-grants.js';
import { loseByForce } from './lock-watch.js';
import { ANY_VERSION } from './requests.js';

/**
 * Makes an exclusive grant a shared one. Its place keeps its name and with it its turn, so no writer
 * comes between; one write of its data turns it into a reader, for all at the same moment. Readers
 * watch the writer in front of them and read that data; writers wait for any place in front. The
 * epoch is written first, so that a reader who is let in finds it. A holder that dies between the two
 * writes was exclusive to its end, and the epoch holds for the readers after it.
 *
 * Both writes can be sent again. When no answer comes at all, the grant counts as either: it reserves
 * no more tokens. Undefined when it had ended.
 */
export async function downgradeGrant(
  clock: Clock,
  held: HeldGrant,
  signal: AbortSignal | undefined,
): Promise<Grant | undefined> {
  const { live, path, directory, lastToken = 0n } = held;
  const before = held.grant;
  if (before.mode === 'shared') return before;
  held.isEither = true;
  for (;;) {
    const since = instantOf(clock);
    const data = { ...held.data(), fencingToken: lastToken, isDowngraded: true };
    const epoch = live.ask.set(directory, encodeEpoch(lastToken), ANY_VERSION);
    const place = live.ask.set(path, encodePlace(data), ANY_VERSION);
    const [opened, written] = await abortable(Promise.all([epoch, place]), signal);
    if (live.ended.aborted) return undefined;
    if (opened.ok && written.ok) {
      return shared(held, lastToken, { since, forMs: Math.min(held.ttlMs, live.timeoutMs) });
    }
    const failure = opened.ok ? written : opened;
    if (failure.ok) continue;
    if (failure.kind === 'no-node') {
      await loseByForce(held);
      return undefined;
    }
    const operation = `downgrade ${JSON.stringify(before.resource)}`;
    const isUnanswered = failure.kind === 'unknown' || failure.kind === 'unsent';
    if (!isUnanswered) throw errorOf(failure, operation);
    await live.connected(signal).catch(() => {});
    signal?.throwIfAborted();
  }
}

function shared(held: HeldGrant, epoch: bigint, validity: Grant['validity']): Grant {
  held.downgraded.add(held.grant.grantId);
  held.isEither = false;
  const grant = held.become({ mode: 'shared', fencingToken: epoch, tokens: 1, validity });
  held.renew(validity, held.ttlMs);
  return grant;
}
