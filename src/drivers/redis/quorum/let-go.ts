import { sleep, throwIfAborted } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import { elapsedMs, instantOf, remainingMs } from '../../../core/clock.js';
import type { CallOptions, Grant } from '../../../lock/driver.js';
import { unknown } from '../errors.js';
import { type Background, mayPass } from '../lock/background.js';
import { type QuorumContext, type QuorumNode, timeoutMsOf, tombstoneMs } from './context.js';
import { gather } from './gather.js';
import type { HeldGrant, HeldGrants } from './held.js';
import { LEAVE } from './leave.js';
import { parseWord } from './reply.js';
import type { Attempt } from './round.js';
import { majorityOf } from './rules.js';
import type { Sends } from './sends.js';

/** What leaving needs of its process. */
export interface LeaveParts {
  readonly context: QuorumContext;
  readonly work: Background;
}

const RESEND = { baseMs: 20, maxMs: 500 };

/** Makes sure, in the background, that nothing of a given-up request is left on any node. */
export function leaveAll(
  { context, work }: LeaveParts,
  { grantId, request, sends }: Attempt,
): void {
  const { resource, ttlMs } = request;
  for (const one of context.nodes) {
    const leave = leaving(context, one, { grantId, resource, ttlMs, sends, isRelease: false });
    work.insist(leave, ttlMs);
  }
}

/**
 * Ends a grant on all nodes, and answers once a majority has ended it: nobody can be kept out by the
 * rest. The rest is told in the background until the grant must have ended by itself.
 */
export async function release(
  { context, work, grants }: LeaveParts & { readonly grants: HeldGrants },
  grant: Grant,
  { signal }: CallOptions = {},
): Promise<'released' | 'lost'> {
  throwIfAborted(signal);
  const { node, nodes, times } = context;
  const held = grants.get(grant.grantId);
  // Of a grant that this process does not know any more there is nothing to release.
  if (held === undefined) return 'lost';
  const wasValid = remainingMs(node.clock, held.validity) > 0;
  const started = instantOf(node.clock);
  const replies = new Map<QuorumNode, boolean>();
  for (let attempt = 0; ; attempt += 1) {
    const missing = nodes.filter((one) => !replies.has(one));
    const failure = await tell(context, held, { missing, replies });
    if (replies.size >= majorityOf(nodes.length)) break;
    const isOutOfTime = elapsedMs(node.clock, started) >= times.replyTimeoutMs;
    if (isOutOfTime || signal?.aborted || !mayPass(failure)) {
      finishLater({ context, work }, held, replies);
      throwIfAborted(signal);
      throw mayPass(failure) ? unansweredError(context, replies, failure) : failure;
    }
    const delayMs = backoffMs(attempt, RESEND, node.random);
    await sleep(node.clock, delayMs, { signal }).catch(() => {});
  }
  grants.delete(grant.grantId);
  finishLater({ context, work }, held, replies);
  const isGone = [...replies.values()].filter((found) => !found).length >= majorityOf(nodes.length);
  return wasValid && !isGone ? 'released' : 'lost';
}

/** Asks nodes to end a grant; answers the last failure, once a majority has answered or all have. */
async function tell(
  context: QuorumContext,
  { grant, ttlMs, sends }: HeldGrant,
  {
    missing,
    replies,
  }: { readonly missing: readonly QuorumNode[]; readonly replies: Map<QuorumNode, boolean> },
): Promise<unknown> {
  const { grantId, resource } = grant;
  let failure: unknown;
  await gather(
    missing,
    async (one) => {
      const leave = leaving(context, one, { grantId, resource, ttlMs, sends, isRelease: true });
      try {
        replies.set(one, parseWord(await leave(), 'R', 'N', resource));
      } catch (error) {
        failure = error;
      }
    },
    (_, isAll) => (isAll || replies.size >= majorityOf(context.nodes.length) ? true : undefined),
  );
  return failure;
}

function finishLater(
  { context, work }: LeaveParts,
  { grant, ttlMs, sends, validity }: HeldGrant,
  replies: ReadonlyMap<QuorumNode, boolean>,
): void {
  const { grantId, resource } = grant;
  const forMs = Math.max(remainingMs(context.node.clock, validity), 0);
  for (const one of context.nodes) {
    if (replies.has(one)) continue;
    const leave = leaving(context, one, { grantId, resource, ttlMs, sends, isRelease: true });
    work.insist(leave, forMs);
  }
}

/** One send of the end of an id to one node; with a tombstone where a copy of it may still arrive. */
function leaving(
  { keys, times }: QuorumContext,
  one: QuorumNode,
  what: {
    readonly grantId: string;
    readonly resource: string;
    readonly ttlMs: number;
    readonly sends: Sends;
    readonly isRelease: boolean;
  },
): () => Promise<unknown> {
  const { grantId, resource, ttlMs, sends, isRelease } = what;
  return async () => {
    const buryMs = sends.isAmbiguous(one) ? tombstoneMs(ttlMs) : 0;
    const values = [grantId, buryMs, isRelease ? 1 : 0];
    const timeoutMs = timeoutMsOf(times, ttlMs);
    return sends.run(one, LEAVE, [keys.key(resource)], values, timeoutMs);
  };
}

function unansweredError(
  { nodes }: QuorumContext,
  replies: ReadonlyMap<QuorumNode, boolean>,
  cause: unknown,
): unknown {
  const why = `${replies.size} of ${nodes.length} nodes answered, and ${majorityOf(nodes.length)} are needed`;
  return unknown('lock.release', why, cause);
}
