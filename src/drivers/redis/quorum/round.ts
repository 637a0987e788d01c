import { instantOf, remainingMs, type Validity } from '../../../core/clock.js';
import { CoordinationError } from '../../../core/errors.js';
import type { GrantRequest } from '../../../lock/driver.js';
import { unavailable } from '../errors.js';
import { mayPass } from '../lock/background.js';
import { wholeTtlMs } from '../lock/context.js';
import { markerOf, type QuorumContext, timeoutMsOf, waiterTtlMs } from './context.js';
import { type Answer, gather } from './gather.js';
import { type BusyReply, type ContendReply, parseContend, parseHold } from './reply.js';
import { type Absence, highestOf, judgeHolds, judgeVotes, majorityOf, type Vote } from './rules.js';
import type { Sends } from './sends.js';
import { VOTE } from './vote.js';
import { WRITE_BACK } from './write-back.js';

/** One request under one grant id, over its rounds. */
export interface Attempt {
  readonly grantId: string;
  readonly request: GrantRequest;
  readonly sends: Sends;
  /** Tells apart the votes of one round from those of the next. */
  round: number;
  /** Its place in line, once it has one: the same on all nodes. */
  ticket: bigint | undefined;
}

/** How one round ended. */
export type RoundOutcome =
  | {
      readonly state: 'granted';
      readonly token: bigint;
      readonly validity: Validity;
      readonly waiters: number;
    }
  /** A majority answered, and does not hold together. */
  | { readonly state: 'busy'; readonly replies: readonly ContendReply[] }
  /** The id is used up. */
  | { readonly state: 'gone'; readonly replies: readonly ContendReply[] }
  /** Fewer than a majority take part. */
  | {
      readonly state: 'short';
      readonly absences: readonly (Absence | undefined)[];
      readonly replies: readonly ContendReply[];
      readonly error: unknown;
    };

type Votes = readonly (Answer<ContendReply> | undefined)[];

/**
 * Votes, then the token's write-back, then one more look at the clock. The lease counts from before
 * the first vote was sent.
 */
export async function playRound(context: QuorumContext, attempt: Attempt): Promise<RoundOutcome> {
  const since = instantOf(context.node.clock);
  attempt.round += 1;
  const voted = await collectVotes(context, attempt);
  if (voted.state !== 'won') return voted;
  const { token } = voted;
  const waiters = await writeBack(context, attempt, token);
  const validity = { since, forMs: attempt.request.ttlMs };
  // The write-back took time too; whoever is late must not begin.
  const isInTime = remainingMs(context.node.clock, validity) > 0;
  if (waiters === undefined || !isInTime) return { state: 'busy', replies: voted.replies };
  return { state: 'granted', token, validity, waiters };
}

function collectVotes(
  context: QuorumContext,
  { grantId, request, round, ticket, sends }: Attempt,
): Promise<
  | Exclude<RoundOutcome, { state: 'granted' }>
  | { readonly state: 'won'; readonly token: bigint; readonly replies: readonly ContendReply[] }
> {
  const { node, nodes, keys, times } = context;
  const { resource, ttlMs, lockDelayMs = 0, wait, owner } = request;
  const values = [
    ...[grantId, round, wholeTtlMs(ttlMs), Math.ceil(lockDelayMs), times.ttlMsMax],
    ...[node.random.token(11), ticket === undefined ? '' : String(ticket)],
    ...[wait ? waiterTtlMs(times) : 0, node.incarnation, owner],
  ];
  const scriptKeys = [keys.key(resource), markerOf(context)];
  const timeoutMs = timeoutMsOf(times, ttlMs);
  return gather(
    nodes,
    async (one) =>
      parseContend(await sends.run(one, VOTE, scriptKeys, values, timeoutMs), resource),
    (votes, isAll) => {
      const replies = repliesOf(votes);
      assertIndependent(replies);
      const verdict = judgeVotes(votes.map(voteOf));
      if (verdict.state === 'won') return { ...verdict, replies };
      if (verdict.state === 'open') return undefined;
      const heard = replies.filter(({ state }) => state !== 'away').length;
      if (heard >= majorityOf(nodes.length)) {
        const isGone = replies.some(({ state }) => state === 'gone');
        return { state: isGone ? 'gone' : 'busy', replies };
      }
      // The last answer may be the one that is needed, or tell that all nodes are blank.
      return isAll ? shortOf(votes, replies) : undefined;
    },
  );
}

/** How many wait, when a majority has taken the tokens; else undefined. */
async function writeBack(
  context: QuorumContext,
  { grantId, request, sends }: Attempt,
  token: bigint,
): Promise<number | undefined> {
  const { node, nodes, times } = context;
  const last = token + BigInt(request.tokens) - 1n;
  const keys = [context.keys.key(request.resource), markerOf(context)];
  const values = [grantId, times.ttlMsMax, node.random.token(11), String(token), String(last)];
  const timeoutMs = timeoutMsOf(times, request.ttlMs);
  // To every node: a vote that is still under way gets there first, on the same connection.
  const outcome = await gather(
    nodes,
    async (one) =>
      parseHold(await sends.run(one, WRITE_BACK, keys, values, timeoutMs), request.resource),
    (answers) => {
      const verdict = judgeHolds(answers.map((answer) => answer && isHeld(answer)));
      if (verdict.state === 'open') return undefined;
      if (verdict.state === 'failed') return { waiters: undefined };
      const waiters = answers.map((answer) => (answer && isHeld(answer) ? waitersOf(answer) : 0));
      return { waiters: Math.max(...waiters) };
    },
  );
  return outcome.waiters;
}

type HoldAnswer = Answer<ReturnType<typeof parseHold>>;

function isHeld(answer: HoldAnswer): boolean {
  return answer.ok && answer.reply.state === 'held';
}

function waitersOf(answer: HoldAnswer): number {
  return answer.ok && answer.reply.state === 'held' ? answer.reply.waiters : 0;
}

function repliesOf(votes: Votes): ContendReply[] {
  return votes.flatMap((vote) => (vote?.ok ? [vote.reply] : []));
}

function voteOf(answer: Answer<ContendReply> | undefined): Vote | undefined {
  if (answer === undefined) return undefined;
  if (!answer.ok) return { kind: 'silent' };
  const { reply } = answer;
  if (reply.state === 'yes') return { kind: 'yes', proposal: reply.proposal };
  return { kind: reply.state === 'away' ? 'away' : 'no' };
}

/** One server under two clients would give its vote twice. */
function assertIndependent(replies: readonly ContendReply[]): void {
  const runIds = replies.flatMap((reply) => (reply.state === 'yes' ? [reply.runId] : []));
  if (new Set(runIds).size === runIds.length) return;
  throw new CoordinationError(
    'BACKEND_UNSUPPORTED',
    'two clients of redisQuorumLock are connected to one Redis server; pass one client a master',
    {
      backend: 'redis',
      setting: 'clients',
      found: 'one server twice',
      needed: 'different servers',
    },
  );
}

function shortOf(
  votes: Votes,
  replies: readonly ContendReply[],
): RoundOutcome & { state: 'short' } {
  const absences = votes.map((vote) =>
    vote?.ok && vote.reply.state === 'away' ? vote.reply : undefined,
  );
  const errors = votes.flatMap((vote) => (vote && !vote.ok ? [vote.error] : []));
  const cause = errors.length > 1 ? new AggregateError(errors, 'several nodes failed') : errors[0];
  const hard = errors.find((error) => !mayPass(error));
  const takesPart = replies.length - absences.filter(Boolean).length;
  const error =
    hard ?? unavailable('lock.acquire', whyShort(votes.length, takesPart, absences), cause);
  return { state: 'short', absences, replies, error };
}

function whyShort(
  nodeCount: number,
  takesPart: number,
  absences: readonly (({ readonly leftMs: number } & Absence) | undefined)[],
): string {
  const away = absences.filter((absence) => absence !== undefined);
  const said = `${takesPart} of ${nodeCount} nodes take part, and ${majorityOf(nodeCount)} are needed`;
  if (away.length === 0) return said;
  const leftMs = Math.max(...away.map((absence) => absence.leftMs));
  return `${said}; ${away.length} lost their state and stay out for ${Math.ceil(leftMs / 1_000)} s more`;
}

/** The answers that tell of the line. */
export function busyRepliesOf(replies: readonly ContendReply[]): BusyReply[] {
  return replies.flatMap((reply) => (reply.state === 'busy' ? [reply] : []));
}

/** A point in time after all nodes were asked, by the nodes' own clocks; undefined when none told. */
export function ticketOf(replies: readonly ContendReply[]): bigint | undefined {
  const times = replies.flatMap((reply) => ('nowMicros' in reply ? [reply.nowMicros] : []));
  return times.length === 0 ? undefined : highestOf(times);
}
