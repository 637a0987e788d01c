import { sleep, throwIfAborted } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import { elapsedMs, instantOf, remainingMs, type Validity } from '../../../core/clock.js';
import type { CallOptions, Grant } from '../../../lock/driver.js';
import { type Background, mayPass } from './background.js';
import { CANCEL } from './cancel.js';
import { keyOf, type RedisLockContext, tombstoneMs } from './context.js';
import type { HeldGrants } from './held.js';
import { RELEASE, RELEASE_PLAIN } from './release.js';
import { parseWord } from './reply.js';

/** What letting go needs of its process. */
export interface LetGoParts {
  readonly context: RedisLockContext;
  readonly grants: HeldGrants;
  readonly work: Background;
}

const RESEND = { baseMs: 20, maxMs: 500 };

/**
 * Ends a grant. While no answer comes it is sent again for `replyTimeoutMs`, then the error is
 * thrown and the sending goes on in the background, until the grant must have ended by itself.
 */
export async function release(
  { context, grants, work }: LetGoParts,
  grant: Grant,
  { signal }: CallOptions = {},
): Promise<'released' | 'lost'> {
  const { calls, node, times } = context;
  const held = grants.get(grant.grantId);
  grants.delete(grant.grantId);
  const validity = held?.validity ?? grant.validity;
  const ttlMs = held?.ttlMs ?? grant.validity.forMs;
  const keys = [keyOf(context, grant.resource)];
  const send = (isAmbiguous: boolean, callOptions?: CallOptions): Promise<unknown> =>
    isAmbiguous
      ? calls.script(RELEASE, keys, [grant.grantId, tombstoneMs(ttlMs, times)], callOptions)
      : calls.script(RELEASE_PLAIN, keys, [grant.grantId], callOptions);
  const wasValid = remainingMs(node.clock, validity) > 0;
  const started = instantOf(node.clock);
  const closes = calls.closeCount();
  const isAmbiguous = held?.isAmbiguous ?? true;
  for (let attempt = 0; ; attempt += 1) {
    try {
      throwIfAborted(signal);
      const reply = await send(isAmbiguous || attempt > 0, signal && { signal });
      const found = parseWord(reply, 'R', 'N', grant.resource);
      const isRepeated = attempt > 0 || calls.closeCount() !== closes;
      return releasedOrLost(context, { found, wasValid, isRepeated, validity });
    } catch (error) {
      const isOutOfTime = elapsedMs(node.clock, started) >= times.replyTimeoutMs;
      if (!mayPass(error) || isOutOfTime || signal?.aborted) {
        const forMs = Math.max(remainingMs(node.clock, validity), 0);
        work.insist(() => send(true), forMs);
        throw error;
      }
    }
    await sleep(node.clock, backoffMs(attempt, RESEND, node.random), { signal });
  }
}

/**
 * Not found although it cannot have ended yet: then an earlier send of this release, whose answer
 * was lost, has ended it. Found although it has ended here: nobody else had it yet, but the work
 * was no longer covered.
 */
function releasedOrLost(
  { node }: RedisLockContext,
  options: {
    readonly found: boolean;
    readonly wasValid: boolean;
    readonly isRepeated: boolean;
    readonly validity: Validity;
  },
): 'released' | 'lost' {
  const { found, wasValid, isRepeated, validity } = options;
  if (found) return wasValid ? 'released' : 'lost';
  return isRepeated && remainingMs(node.clock, validity) > 0 ? 'released' : 'lost';
}

/** Makes sure, in the background, that nothing of a given-up request is left. */
export function cancel(
  { context, work }: Omit<LetGoParts, 'grants'>,
  resource: string,
  grantId: string,
  ttlMs: number,
): void {
  const { calls, times } = context;
  const buryMs = tombstoneMs(ttlMs, times);
  const keys = [keyOf(context, resource)];
  work.insist(() => calls.script(CANCEL, keys, [grantId, buryMs]), buryMs);
}
