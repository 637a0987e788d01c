import { type Instant, instantOf } from '../../../core/clock.js';
import type { Grant, RenewReply } from '../../../lock/driver.js';
import { loseGrant } from '../../../lock/lose-grant.js';
import type { RedisCalls } from '../calls.js';
import { slotGroups } from '../slots.js';
import { keyOf, type RedisLockContext, wholeTtlMs } from './context.js';
import { repliedValidity } from './deadline.js';
import type { HeldGrants } from './held.js';
import { RENEW } from './renew.js';
import { forcedError, parseRenewal } from './reply.js';

/** Grants that one command renews; it bounds how long one script runs, to about a millisecond. */
const BATCH = 100;
/** Commands of one process that are under way together: others get their turn in between. */
const UNDER_WAY_MAX = 4;
/** In a cluster most resources are alone in their slot, and the commands are short. */
const UNDER_WAY_MAX_CLUSTER = 64;
/** An answer is awaited for this share of the shortest TTL at most, so that another try fits in. */
const PATIENCE_SHARE = 1 / 3;

interface Renewal {
  readonly grant: Grant;
  readonly ttlMs: number;
}

/** Renews grants in batches, a few commands at a time, however many there are. Never rejects. */
export type RenewAll = (renewals: readonly Renewal[]) => Promise<readonly RenewReply[]>;

/** The renewals of one process, numbered so that the server knows late copies. */
export function renewals(parts: {
  readonly context: RedisLockContext;
  readonly grants: HeldGrants;
  /** By which to send them, where that is another connection; it is opened by the first use. */
  readonly calls?: (() => RedisCalls) | undefined;
}): RenewAll {
  const { context, grants } = parts;
  const { calls, node, times } = context;
  const senders = calls.client.isCluster ? UNDER_WAY_MAX_CLUSTER : UNDER_WAY_MAX;
  let count = 0;

  const send = async (batch: readonly Renewal[]): Promise<readonly RenewReply[]> => {
    const keys = batch.map(({ grant }) => keyOf(context, grant.resource));
    const values = batch.flatMap(({ grant, ttlMs }) => [grant.grantId, wholeTtlMs(ttlMs)]);
    const shortestMs = batch.reduce((least, { ttlMs }) => Math.min(least, ttlMs), Infinity);
    const timeoutMs = Math.min(times.replyTimeoutMs, shortestMs * PATIENCE_SHARE);
    count += 1;
    const sent = instantOf(node.clock);
    try {
      const by = parts.calls?.() ?? calls;
      const replies = await by.script(RENEW, keys, [count, ...values], { timeoutMs });
      return batch.map(({ grant }, index) =>
        readReply(grants, grant, Array.isArray(replies) ? replies[index] : replies, sent),
      );
    } catch (cause) {
      // While a cluster moves a slot, several of its keys may not be together anywhere.
      const mayBeApart = calls.client.isCluster && batch.length > 1;
      if (mayBeApart) return (await Promise.all(batch.map((one) => send([one])))).flat();
      return batch.map(() => ({ state: 'unknown', cause }));
    }
  };
  return async (list) => {
    const answers = new Map<Renewal, RenewReply>();
    const ofGrant = ({ grant }: Renewal): string => keyOf(context, grant.resource);
    const batches = slotGroups(calls.client, list, ofGrant, BATCH).values();
    // Each takes the next batch once its last one was answered.
    const sendNext = async (): Promise<void> => {
      for (const batch of batches) {
        const replies = await send(batch);
        for (const [index, one] of batch.entries()) {
          const reply = replies[index];
          if (reply !== undefined) answers.set(one, reply);
        }
      }
    };
    await Promise.all(Array.from({ length: senders }, sendNext));
    return list.map((one) => answers.get(one) ?? { state: 'unknown', cause: undefined });
  };
}

function readReply(grants: HeldGrants, grant: Grant, raw: unknown, sent: Instant): RenewReply {
  try {
    const reply = parseRenewal(raw, grant.resource);
    if (reply.state === 'lost') {
      const { why } = reply;
      if (why !== undefined) {
        loseGrant(grant, forcedError(grant.resource, grant.fencingToken, why));
      }
      return { state: 'lost' };
    }
    const validity = repliedValidity(sent, reply.remainingMs);
    const held = grants.get(grant.grantId);
    if (held !== undefined) held.validity = validity;
    return { state: 'held', validity, waiters: reply.waiters };
  } catch (cause) {
    return { state: 'unknown', cause };
  }
}
