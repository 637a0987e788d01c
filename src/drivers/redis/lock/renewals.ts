import { instantOf } from '../../../core/clock.js';
import type { Grant, RenewReply } from '../../../lock/driver.js';
import { keysOf, type RedisLockContext, wholeTtlMs } from './context.js';
import { repliedValidity } from './deadline.js';
import type { HeldGrants } from './held.js';
import { RENEW } from './renew.js';
import { parseRenewal } from './reply.js';

/** Grants that one command renews; it bounds how long one script runs. */
const BATCH = 100;
/** An answer is awaited for this share of the shortest TTL at most, so that another try fits in. */
const PATIENCE_SHARE = 1 / 3;

interface Renewal {
  readonly grant: Grant;
  readonly ttlMs: number;
}

/** Renews in batches; in a cluster, where each resource may be in a slot of its own, one by one. */
export async function renewAll(
  parts: { readonly context: RedisLockContext; readonly grants: HeldGrants },
  renewals: readonly Renewal[],
): Promise<readonly RenewReply[]> {
  const size = parts.context.calls.client.isCluster ? 1 : BATCH;
  const batches: Promise<RenewReply[]>[] = [];
  for (let start = 0; start < renewals.length; start += size) {
    batches.push(renewBatch(parts, renewals.slice(start, start + size)));
  }
  return (await Promise.all(batches)).flat();
}

async function renewBatch(
  { context, grants }: { readonly context: RedisLockContext; readonly grants: HeldGrants },
  batch: readonly Renewal[],
): Promise<RenewReply[]> {
  const { calls, node, times } = context;
  const keys = batch.map(({ grant }) => keysOf(context, grant.resource)[0]);
  const values = batch.flatMap(({ grant, ttlMs }) => [grant.grantId, wholeTtlMs(ttlMs)]);
  const shortestMs = Math.min(...batch.map(({ ttlMs }) => ttlMs));
  const timeoutMs = Math.min(times.replyTimeoutMs, shortestMs * PATIENCE_SHARE);
  const sent = instantOf(node.clock);
  let replies: unknown;
  try {
    replies = await calls.script(RENEW, keys, values, { timeoutMs });
  } catch (cause) {
    return batch.map(() => ({ state: 'unknown', cause }));
  }
  return batch.map(({ grant }, index): RenewReply => {
    try {
      const raw = Array.isArray(replies) ? replies[index] : replies;
      const reply = parseRenewal(raw, grant.resource);
      if (reply === undefined) return { state: 'lost' };
      const validity = repliedValidity(sent, reply.remainingMs);
      const held = grants.get(grant.grantId);
      if (held !== undefined) held.validity = validity;
      return { state: 'held', validity, waiters: reply.waiters };
    } catch (cause) {
      return { state: 'unknown', cause };
    }
  });
}
