import { sleep } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import { elapsedMs, type Instant, instantOf } from '../../../core/clock.js';
import type { CallOptions, Grant } from '../../../lock/driver.js';
import type { RedisScript } from '../script.js';
import { mayPass } from './background.js';
import { keyOf, type RedisLockContext, tombstoneMs } from './context.js';
import { repliedValidity } from './deadline.js';
import { FORCE } from './force.js';
import { grantOf, type HeldGrants } from './held.js';
import { DOWNGRADE } from './renew.js';
import { parseNumber, parseRenewal } from './reply.js';

const RESEND = { baseMs: 20, maxMs: 500 };

/**
 * Sends a script that may run twice until an answer comes, for `replyTimeoutMs` in all; then the
 * error is thrown. Answers with the time before the send that was answered.
 */
async function insistent(
  { calls, node, times }: RedisLockContext,
  script: RedisScript,
  keys: readonly string[],
  values: readonly (string | number)[],
  { signal }: CallOptions = {},
): Promise<{ readonly reply: unknown; readonly sent: Instant }> {
  const started = instantOf(node.clock);
  for (let attempt = 0; ; attempt += 1) {
    const sent = instantOf(node.clock);
    try {
      const reply = await calls.script(script, keys, values, signal && { signal });
      return { reply, sent };
    } catch (error) {
      const isTooLate = elapsedMs(node.clock, started) >= times.replyTimeoutMs;
      if (signal?.aborted || !mayPass(error) || isTooLate) throw error;
    }
    await sleep(node.clock, backoffMs(attempt, RESEND, node.random), { signal });
  }
}

/** Makes a writer a reader; undefined when the grant had ended. */
export async function downgrade(
  parts: { readonly context: RedisLockContext; readonly grants: HeldGrants },
  grant: Grant,
  options?: CallOptions,
): Promise<Grant | undefined> {
  const { context, grants } = parts;
  const { grantId, resource } = grant;
  const keys = [keyOf(context, resource)];
  const { reply, sent } = await insistent(context, DOWNGRADE, keys, [grantId], options);
  const answer = parseRenewal(reply, resource);
  if (answer.state === 'lost') return undefined;
  const { fence, waiters, remainingMs } = answer;
  const validity = repliedValidity(sent, remainingMs);
  const shared = { resource, mode: 'shared', tokens: 1 } as const;
  const reader = grantOf(grantId, shared, { fence, waiters, validity });
  reader.onLost = grant.onLost;
  reader.onWaiters = grant.onWaiters;
  const held = grants.get(grantId);
  const { ttlMs = grant.validity.forMs, isAmbiguous = true } = held ?? {};
  return grants.add({ grant: reader, ttlMs, validity, isAmbiguous });
}

/** Ends every grant of a resource, and answers how many. */
export async function forceRelease(
  context: RedisLockContext,
  resource: string,
  reason: string,
  options?: CallOptions,
): Promise<number> {
  const { node, times } = context;
  const keys = [keyOf(context, resource)];
  const values = [node.nextGrantId(), tombstoneMs(0, times), reason];
  const { reply } = await insistent(context, FORCE, keys, values, options);
  return Number(parseNumber(reply, resource) ?? 0);
}
