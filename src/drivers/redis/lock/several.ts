import { sleep, throwIfAborted } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import { elapsedMs, instantOf } from '../../../core/clock.js';
import type { Grant, GrantRequest } from '../../../lock/driver.js';
import { slotGroups } from '../slots.js';
import { ACQUIRE_ALL } from './acquire-all.js';
import { mayPass } from './background.js';
import { keyOf, type RedisLockContext, termsOf } from './context.js';
import { repliedValidity } from './deadline.js';
import { grantOf, type HeldGrants } from './held.js';
import { type HeldReply, parseContend } from './reply.js';

/** What taking several resources needs of its process. */
export interface SeveralParts {
  readonly context: RedisLockContext;
  readonly grants: HeldGrants;
  /** Makes sure, in the background, that nothing of an id is left. */
  cancel(resource: string, grantId: string, ttlMs: number): void;
}

/** Resources that one script takes; it bounds how long it runs. */
const SEVERAL_MAX = 250;
const RESEND = { baseMs: 20, maxMs: 500 };

/**
 * Takes several resources in one script, all or none. Not in a cluster, unless they share a slot.
 * Every send is the same request, so a lost reply is answered by asking again.
 */
export async function acquireSeveral(
  { context, grants, cancel }: SeveralParts,
  requests: readonly GrantRequest[],
): Promise<readonly Grant[] | 'busy' | 'unsupported'> {
  const { calls, node, times } = context;
  const [first] = requests;
  if (first === undefined) return [];
  const ofRequest = ({ resource }: GrantRequest): string => keyOf(context, resource);
  if (slotGroups(calls.client, requests, ofRequest, SEVERAL_MAX).length > 1) return 'unsupported';
  const ids = requests.map(() => node.nextGrantId());
  const keys = requests.map(ofRequest);
  const values = requests.flatMap((one, index) => [ids[index] ?? '', termsOf(one, context)]);
  const started = instantOf(node.clock);
  const giveUp = (): void => {
    for (const [index, { resource, ttlMs }] of requests.entries()) {
      cancel(resource, ids[index] ?? '', ttlMs);
    }
  };
  let isAmbiguous = false;
  for (let attempt = 0; ; attempt += 1) {
    const sent = instantOf(node.clock);
    const closes = calls.closeCount();
    try {
      if (attempt > 0) throwIfAborted(first.signal);
      const replies = await calls.script(ACQUIRE_ALL, keys, values);
      isAmbiguous ||= calls.closeCount() !== closes;
      const answers = readAll(replies, requests);
      if (answers === 'busy') {
        // An earlier send may have taken them, or may still arrive.
        if (isAmbiguous) giveUp();
        return 'busy';
      }
      return requests.map((request, index) => {
        const { ttlMs } = request;
        const { fence, waiters, remainingMs } = answers[index] as HeldReply;
        const validity = repliedValidity(sent, remainingMs);
        const grant = grantOf(ids[index] ?? '', request, { fence, waiters, validity });
        return grants.add({ grant, ttlMs, validity, isAmbiguous });
      });
    } catch (error) {
      isAmbiguous = true;
      const isTooLate = elapsedMs(node.clock, started) >= times.replyTimeoutMs;
      if (!mayPass(error) || isTooLate) {
        giveUp();
        throw error;
      }
    }
    await sleep(node.clock, backoffMs(attempt, RESEND, node.random));
  }
}

/** One answer each, or one for all: busy, which an id that is used up amounts to. */
function readAll(
  replies: unknown,
  requests: readonly GrantRequest[],
): readonly HeldReply[] | 'busy' {
  const list: readonly unknown[] = Array.isArray(replies) ? replies : [replies];
  const [, , index] = String(list[0]).split('|');
  const at = String(list[0]).startsWith('C') ? Number(index) - 1 : 0;
  const answers: HeldReply[] = [];
  for (const [place, raw] of list.entries()) {
    const request = requests[place + at];
    if (request === undefined) break;
    const answer = parseContend(raw, request);
    if (answer.state !== 'held') return 'busy';
    answers.push(answer);
  }
  return answers;
}
