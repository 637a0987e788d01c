import { sleep, throwIfAborted } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import {
  elapsedMs,
  type Instant,
  instantOf,
  leftAt,
  remainingMs,
  type Validity,
} from '../../../core/clock.js';
import type { CallOptions, Grant } from '../../../lock/driver.js';
import { type Background, mayPass } from './background.js';
import { CANCEL } from './cancel.js';
import { keyOf, type RedisLockContext, tombstoneMs } from './context.js';
import type { HeldGrant, HeldGrants } from './held.js';
import { RELEASE, RELEASE_PLAIN } from './release.js';
import { parseReleased } from './reply.js';

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
export function release(
  parts: LetGoParts,
  grant: Grant,
  options: CallOptions = {},
): Promise<'released' | 'lost'> {
  const { context, grants } = parts;
  const { calls, node } = context;
  const { grantId, resource } = grant;
  const { validity, ttlMs, isAmbiguous } = grants.get(grantId) ?? unknownHeld(grant);
  grants.delete(grantId);
  const started = instantOf(node.clock);
  const leaving: Leaving = {
    grant,
    ttlMs,
    validity,
    started,
    wasValid: leftAt(validity, started) > 0,
    closes: calls.closeCount(),
  };
  if (isAmbiguous || options.signal !== undefined) {
    return releaseInsistently(parts, leaving, isAmbiguous, options);
  }
  // As a rule one send, and its answer.
  return calls.script(RELEASE_PLAIN, [keyOf(context, resource)], [grantId]).then(
    (reply) => releasedOrLost(context, leaving, reply, false),
    (error) => releaseInsistently(parts, leaving, true, options, error),
  );
}

/** A release under way. */
interface Leaving {
  readonly grant: Grant;
  readonly ttlMs: number;
  readonly validity: Validity;
  readonly started: Instant;
  /** Whether it was held as the release began. */
  readonly wasValid: boolean;
  /** How often the connection had closed by then. */
  readonly closes: number;
}

function unknownHeld({ validity }: Grant): Pick<HeldGrant, 'validity' | 'ttlMs' | 'isAmbiguous'> {
  return { validity, ttlMs: validity.forMs, isAmbiguous: true };
}

/** Sends the release until it is answered; `failed` is the error of a first send. */
async function releaseInsistently(
  { context, work }: LetGoParts,
  leaving: Leaving,
  isAmbiguous: boolean,
  { signal }: CallOptions,
  failed?: unknown,
): Promise<'released' | 'lost'> {
  const { calls, node, times } = context;
  const { grant, ttlMs, validity, started } = leaving;
  const keys = [keyOf(context, grant.resource)];
  const unsure = [grant.grantId, tombstoneMs(ttlMs, times)];
  const send = (isUnsure: boolean, callOptions?: CallOptions): Promise<unknown> =>
    isUnsure
      ? calls.script(RELEASE, keys, unsure, callOptions)
      : calls.script(RELEASE_PLAIN, keys, [grant.grantId], callOptions);
  let error = failed;
  for (let attempt = failed === undefined ? 0 : 1; ; attempt += 1) {
    if (attempt > 0) {
      const isOutOfTime = elapsedMs(node.clock, started) >= times.replyTimeoutMs;
      if (!mayPass(error) || isOutOfTime || signal?.aborted) {
        work.insist(() => send(true), Math.max(remainingMs(node.clock, validity), 0));
        throw error;
      }
      await sleep(node.clock, backoffMs(attempt - 1, RESEND, node.random), { signal });
    }
    try {
      throwIfAborted(signal);
      const reply = await send(isAmbiguous || attempt > 0, signal && { signal });
      return releasedOrLost(context, leaving, reply, attempt > 0);
    } catch (cause) {
      error = cause;
    }
  }
}

/**
 * Not found although it cannot have ended yet: then an earlier send of this release, whose answer
 * was lost, has ended it. Found although it has ended here: nobody else had it yet, but the work
 * was no longer covered.
 */
function releasedOrLost(
  { calls, node }: RedisLockContext,
  { grant, validity, wasValid, closes }: Leaving,
  reply: unknown,
  isRepeated: boolean,
): 'released' | 'lost' {
  if (parseReleased(reply, grant.resource)) return wasValid ? 'released' : 'lost';
  const mayBeRepeated = isRepeated || calls.closeCount() !== closes;
  return mayBeRepeated && remainingMs(node.clock, validity) > 0 ? 'released' : 'lost';
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
