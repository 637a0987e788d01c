import { type Instant, instantOf, remainingMs } from '../../../core/clock.js';
import type { Grant, RenewReply } from '../../../lock/driver.js';
import { lockLostError } from '../../../lock/errors.js';
import { loseGrant } from '../../../lock/lose-grant.js';
import { wholeTtlMs } from '../lock/context.js';
import { markerOf, type QuorumContext, type QuorumNode, timeoutMsOf } from './context.js';
import { type Answer, gather } from './gather.js';
import type { HeldGrant, HeldGrants } from './held.js';
import { RENEW } from './renew.js';
import { type HoldReply, parseHold } from './reply.js';
import { judgeHolds, majorityOf } from './rules.js';

/** Grants that one command renews; it bounds how long one script runs. */
const BATCH = 50;

interface Renewal {
  readonly held: HeldGrant;
  readonly ttlMs: number;
}

interface RenewParts {
  readonly context: QuorumContext;
  readonly grants: HeldGrants;
}

/** Renews grants: one command a node for 50 of them. A grant is held while a majority says so. */
export async function renewAll(
  parts: RenewParts,
  grants: readonly Grant[],
  ttlMs: readonly number[],
): Promise<readonly RenewReply[]> {
  const replies: RenewReply[] = grants.map(() => ({ state: 'lost' }));
  const wanted: (Renewal & { readonly place: number })[] = [];
  for (const [place, grant] of grants.entries()) {
    const held = parts.grants.get(grant.grantId);
    // What has ended here stays ended, though some node may not have noticed.
    if (held === undefined || remainingMs(parts.context.node.clock, held.validity) <= 0) continue;
    wanted.push({ held, ttlMs: ttlMs[place] ?? held.ttlMs, place });
  }
  const batches: Promise<void>[] = [];
  for (let start = 0; start < wanted.length; start += BATCH) {
    const batch = wanted.slice(start, start + BATCH);
    const renewed = renewBatch(parts, batch).then((answers) => {
      for (const [index, { place }] of batch.entries()) {
        replies[place] = answers[index] ?? { state: 'lost' };
      }
    });
    batches.push(renewed);
  }
  await Promise.all(batches);
  return replies;
}

function renewBatch(
  { context }: RenewParts,
  batch: readonly Renewal[],
): Promise<readonly RenewReply[]> {
  const { node, nodes } = context;
  const sent = instantOf(node.clock);
  return gather(
    nodes,
    (one) => askNode(context, one, batch),
    (answers, isAll) => {
      const verdicts = batch.map((renewal, index) => {
        const holds = answers.map((answer) => answerFor(answer, index));
        return judge(renewal, holds, sent, isAll);
      });
      if (verdicts.some((verdict) => verdict === undefined)) return undefined;
      return verdicts.map((verdict) => verdict?.() ?? { state: 'lost' });
    },
  );
}

/** What one node says of each grant. */
async function askNode(
  context: QuorumContext,
  one: QuorumNode,
  batch: readonly Renewal[],
): Promise<readonly HoldReply[]> {
  const { node, keys, times } = context;
  const scriptKeys = [markerOf(context), ...batch.map(({ held }) => keys.key(held.grant.resource))];
  const values = batch.flatMap(({ held, ttlMs }) => [
    ...[held.grant.grantId, wholeTtlMs(ttlMs), Math.ceil(held.delayMs)],
    ...[String(held.grant.fencingToken), String(held.lastToken), node.incarnation, held.owner],
  ]);
  const timeoutMs = Math.min(...batch.map(({ ttlMs }) => timeoutMsOf(times, ttlMs)));
  const answered = batch.map(({ held }) => held.sends.note(one));
  const head = [times.ttlMsMax, node.random.token(11)];
  try {
    const raw = await one.calls.script(RENEW, scriptKeys, [...head, ...values], { timeoutMs });
    for (const tell of answered) tell();
    const list = Array.isArray(raw) ? raw : [raw];
    return batch.map(({ held }, index) => parseHold(list[index], held.grant.resource));
  } catch (error) {
    for (const tell of answered) tell(error);
    throw error;
  }
}

type Hold = HoldReply | { readonly state: 'silent'; readonly error: unknown };

function answerFor(
  answer: Answer<readonly HoldReply[]> | undefined,
  index: number,
): Hold | undefined {
  if (answer === undefined) return undefined;
  if (!answer.ok) return { state: 'silent', error: answer.error };
  return answer.reply[index];
}

/** What to conclude, once it can be concluded; run at the end, because it notes what it found. */
function judge(
  { held, ttlMs }: Renewal,
  holds: readonly (Hold | undefined)[],
  sent: Instant,
  isAll: boolean,
): (() => RenewReply) | undefined {
  const won = judgeHolds(holds.map((hold) => hold && hold.state === 'held'));
  if (won.state === 'won') return () => renewed(held, holds, { since: sent, forMs: ttlMs }, ttlMs);
  const lost = holds.filter((hold) => hold?.state === 'lost');
  if (lost.length >= majorityOf(holds.length)) return () => lose(held, lost);
  if (!isAll) return undefined;
  const failure = holds.find((hold) => hold?.state === 'silent' || hold?.state === 'away');
  const cause = failure?.state === 'silent' ? failure.error : new Error('too few nodes take part');
  return () => ({ state: 'unknown', cause });
}

function renewed(
  held: HeldGrant,
  holds: readonly (Hold | undefined)[],
  validity: HeldGrant['validity'],
  ttlMs: number,
): RenewReply {
  const counts = holds.map((hold) => (hold?.state === 'held' ? hold.waiters : 0));
  held.validity = validity;
  held.ttlMs = ttlMs;
  return { state: 'held', validity, waiters: Math.max(...counts) };
}

function lose({ grant }: HeldGrant, lost: readonly (Hold | undefined)[]): RenewReply {
  const reason = lost.map((hold) => (hold?.state === 'lost' ? hold.reason : '')).find(Boolean);
  if (reason !== undefined) {
    loseGrant(grant, lockLostError(grant.resource, grant.fencingToken, reason));
  }
  return { state: 'lost' };
}
