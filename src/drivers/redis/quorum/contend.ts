import { abortable, onAbort, throwIfAborted } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import { elapsedMs, type Instant, instantOf } from '../../../core/clock.js';
import type { Grant, GrantRequest } from '../../../lock/driver.js';
import { mayPass } from '../lock/background.js';
import { ADMIT } from './admit.js';
import { markerOf, type QuorumContext, timeoutMsOf, waiterTtlMs } from './context.js';
import { gather } from './gather.js';
import { grantOf, type HeldGrants } from './held.js';
import { type LeaveParts, leaveAll } from './let-go.js';
import { type BusyReply, type ContendReply, parseContend } from './reply.js';
import { type Attempt, busyRepliesOf, playRound, type RoundOutcome, ticketOf } from './round.js';
import { type Absence, majorityOf, mayMakeReady, mayStart } from './rules.js';
import { sends } from './sends.js';
import { STAND } from './stand.js';
import type { Turn, Turns } from './turns.js';

/** What a contender needs of its process. */
export interface ContendParts extends LeaveParts {
  readonly context: QuorumContext;
  readonly grants: HeldGrants;
  readonly turns: Turns;
}

const RETRY = { baseMs: 5, maxMs: 250 };
/** A holder's end is looked at this much after the time that was told, in milliseconds. */
const AFTER_EXPIRY_MS = 1;
/** A request that does not wait tries again when the votes were split and nobody has it. */
const SPLITS_MAX = 4;
/** Blank nodes are read twice and begun; more often only if that failed. */
const READINGS_MAX = 6;

/** Contends for one request, round after round, until it is granted, refused or given up. */
export async function contend(
  parts: ContendParts,
  request: GrantRequest,
): Promise<Grant | undefined> {
  throwIfAborted(request.signal);
  const contender = new Contender(parts, request);
  const stop = onAbort(request.signal, () => contender.giveUp());
  try {
    return await abortable(contender.run(), request.signal);
  } finally {
    stop();
  }
}

class Contender {
  readonly #parts: ContendParts;
  readonly #request: GrantRequest;
  #attempt: Attempt;
  #turn: Turn;
  #isOver = false;
  #failures = 0;
  #readings = 0;
  #heard: Instant;
  #absences: readonly (Absence | undefined)[] = [];

  constructor(parts: ContendParts, request: GrantRequest) {
    this.#parts = parts;
    this.#request = request;
    this.#attempt = this.#newAttempt(undefined);
    this.#turn = parts.turns.open(this.#attempt.grantId);
    this.#heard = instantOf(parts.context.node.clock);
  }

  async run(): Promise<Grant | undefined> {
    try {
      while (!this.#isOver) {
        const outcome = await playRound(this.#parts.context, this.#attempt);
        if (this.#isOver) break;
        if (outcome.state === 'granted') return this.#hold(outcome);
        if (!(await this.#goOn(outcome))) return undefined;
      }
      return undefined;
    } catch (error) {
      this.giveUp();
      throw error;
    } finally {
      this.#turn.close();
    }
  }

  /** Leaves nothing behind. What the round under way still sends comes after it, and changes nothing. */
  giveUp(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    leaveAll(this.#parts, this.#attempt);
  }

  #hold({ token, validity, waiters }: RoundOutcome & { state: 'granted' }): Grant {
    const { grantId, sends: sent } = this.#attempt;
    const { ttlMs, owner, tokens, lockDelayMs: delayMs = 0 } = this.#request;
    const grant = grantOf(this.#request, { grantId, token, validity, waiters });
    const lastToken = token + BigInt(tokens) - 1n;
    this.#isOver = true;
    return this.#parts.grants.add({
      ...{ grant, owner, delayMs, ttlMs, validity, lastToken, sends: sent },
    });
  }

  /** After a round that failed: whether there is another one, which it waits for. */
  async #goOn(outcome: Exclude<RoundOutcome, { state: 'granted' }>): Promise<boolean> {
    if (outcome.state === 'short') return this.#whenShort(outcome);
    this.#heard = instantOf(this.#parts.context.node.clock);
    this.#absences = [];
    this.#attempt.ticket ??= ticketOf(outcome.replies);
    if (!this.#request.wait) return this.#tryOnce(outcome.replies);
    if (outcome.state === 'gone') {
      this.#startAnew();
      return true;
    }
    const line = await this.#stand(outcome.replies);
    if (this.#isOver) return false;
    await this.#turn.next(this.#delayMs(line), this.#request.signal);
    return true;
  }

  /** Fewer than a majority take part: for a while it may pass, and a new deployment is begun. */
  async #whenShort({
    absences,
    error,
    replies,
  }: RoundOutcome & { state: 'short' }): Promise<boolean> {
    const { context } = this.#parts;
    const isBlank = mayMakeReady(absences, absences);
    const isReady = mayStart(nodesOf(absences, replies));
    if (isBlank && mayMakeReady(this.#absences, absences)) await this.#admit(absences, 'f');
    if (isReady) await this.#admit(absences, 'r');
    this.#absences = absences;
    if ((isBlank || isReady) && this.#readings < READINGS_MAX) {
      this.#readings += 1;
      return true;
    }
    if (!mayPass(error)) throw error;
    if (elapsedMs(context.node.clock, this.#heard) >= context.times.replyTimeoutMs) throw error;
    // Votes of a minority must not stand in the way of others meanwhile.
    if (replies.some(({ state }) => state === 'yes') || this.#isAnywhereAmbiguous()) {
      this.#startAnew();
    }
    await this.#pause();
    return true;
  }

  /** Moves nodes of a new deployment on. One that does not hear of it begins after the longest TTL. */
  async #admit(absences: readonly (Absence | undefined)[], state: 'f' | 'r'): Promise<void> {
    const { context } = this.#parts;
    const timeoutMs = timeoutMsOf(context.times, this.#request.ttlMs);
    await gather(
      context.nodes,
      (one) => {
        const nonce = absences[one.number - 1]?.nonce ?? '';
        return one.calls.script(ADMIT, [markerOf(context)], [nonce, state], { timeoutMs });
      },
      (_, isAll) => (isAll ? true : undefined),
    );
  }

  /** Undoes the votes of the round, and tries again only if nobody seems to have it. */
  async #tryOnce(replies: readonly ContendReply[]): Promise<boolean> {
    const busy = busyRepliesOf(replies);
    const isTaken = busy.some(({ isGranted, aheadCount }) => isGranted || aheadCount > 0);
    this.#failures += 1;
    if (isTaken || this.#failures > SPLITS_MAX) {
      this.giveUp();
      return false;
    }
    this.#startAnew();
    await this.#pause();
    return true;
  }

  /** Takes the votes of this round back where there may be any, and stands in line. */
  async #stand(replies: readonly ContendReply[]): Promise<readonly BusyReply[]> {
    const { context } = this.#parts;
    const { grantId, round, ticket, sends: sent } = this.#attempt;
    const { resource, owner, ttlMs } = this.#request;
    if (ticket === undefined) return [];
    const { node, nodes, keys, times } = context;
    const aliveMs = waiterTtlMs(times);
    const values = [grantId, round, String(ticket), aliveMs, node.incarnation, owner];
    const timeoutMs = timeoutMsOf(times, ttlMs);
    const answers = await gather(
      nodes,
      async (one) =>
        parseContend(await sent.run(one, STAND, [keys.key(resource)], values, timeoutMs), resource),
      (all, isAll) => {
        const told = all.flatMap((answer) => (answer?.ok ? [answer.reply] : []));
        return isAll || told.length >= majorityOf(nodes.length) ? told : undefined;
      },
    );
    return busyRepliesOf(answers.length > 0 ? answers : replies);
  }

  /** When to try again, unless woken before. */
  #delayMs(line: readonly BusyReply[]): number {
    const { context } = this.#parts;
    const majority = majorityOf(context.nodes.length);
    const { heartbeatMs } = context.times;
    const periodMs = heartbeatMs * (0.5 + context.node.random.fraction() / 2);
    const first = line.filter(({ aheadCount }) => aheadCount === 0);
    const endsMs = first.map(({ blockedMs }) => blockedMs).toSorted((a, b) => a - b);
    // Only the first in line looks at the holder's end; those behind it are woken in their turn.
    const freeMs = endsMs[majority - 1];
    if (freeMs === undefined) return periodMs;
    this.#failures = freeMs > 0 ? 0 : this.#failures + 1;
    // Free on a majority and still not won: somebody else tries at the same time.
    const tryMs = freeMs > 0 ? freeMs + AFTER_EXPIRY_MS : this.#backoffMs();
    return Math.min(tryMs, periodMs);
  }

  /** The id is used up, or its votes are taken back for good: another one, at the same place in line. */
  #startAnew(): void {
    leaveAll(this.#parts, this.#attempt);
    this.#turn.close();
    this.#attempt = this.#newAttempt(this.#attempt.ticket);
    this.#turn = this.#parts.turns.open(this.#attempt.grantId);
  }

  #newAttempt(ticket: bigint | undefined): Attempt {
    const grantId = this.#parts.context.node.nextGrantId();
    return { grantId, request: this.#request, sends: sends(), round: 0, ticket };
  }

  #isAnywhereAmbiguous(): boolean {
    const { sends: sent } = this.#attempt;
    return this.#parts.context.nodes.some((one) => sent.isAmbiguous(one));
  }

  #backoffMs(): number {
    return backoffMs(this.#failures, RETRY, this.#parts.context.node.random);
  }

  async #pause(): Promise<void> {
    this.#failures += 1;
    await this.#turn.next(this.#backoffMs(), this.#request.signal);
  }
}

/** All nodes as they take part or do not; a node that did not answer may be anything. */
function nodesOf(
  absences: readonly (Absence | undefined)[],
  replies: readonly ContendReply[],
): (Absence | 'in service' | undefined)[] {
  const allAnswered = replies.length === absences.length;
  return absences.map((absence) => absence ?? (allAnswered ? 'in service' : undefined));
}
