import { onAbort } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import { type CancelTimer, elapsedMs, type Instant, instantOf } from '../../../core/clock.js';
import { type Deferred, deferred } from '../../../core/deferred.js';
import { isCoordinationError } from '../../../core/errors.js';
import type { Grant, GrantRequest } from '../../../lock/driver.js';
import { unavailable } from '../errors.js';
import type { RedisScript } from '../script.js';
import { ACQUIRE, ACQUIRE_PLAIN } from './acquire.js';
import { mayPass } from './background.js';
import { isPlain, keyOf, type RedisLockContext, termsOf } from './context.js';
import { pushedValidity, repliedValidity, type ServerSighting } from './deadline.js';
import { type GrantFacts, grantOf, type HeldGrants } from './held.js';
import type { PushedGrant } from './inbox.js';
import type { Line } from './line.js';
import { type ContendReply, parseContend, plainToken } from './reply.js';

/** What a contender needs of its process. */
export interface ContendParts {
  readonly context: RedisLockContext;
  readonly line: Line;
  readonly grants: HeldGrants;
  /** Makes sure, in the background, that nothing of an id is left. */
  cancel(resource: string, grantId: string, ttlMs: number): void;
}

const RESEND = { baseMs: 20, maxMs: 1_000 };
/** A holder's end is looked at this much after the time that was told, in milliseconds. */
const AFTER_EXPIRY_MS = 1;
/** A grant with less than this share of its time left is asked for again before it is handed out. */
const FRESH_SHARE = 0.5;
/** After so many late replies, one with any time left is taken. */
const STALE_REPLIES_MAX = 3;

/**
 * Contends for one request, under one grant id after the other, until it is granted, refused or
 * given up. Every send of an id is the same request, so a lost reply is answered by asking again.
 */
export function contend(parts: ContendParts, request: GrantRequest): Promise<Grant | undefined> {
  const isReady = parts.context.calls.client.status === 'ready';
  return isReady && isPlain(request)
    ? contendPlainly(parts, request)
    : new Contender(parts, request, firstSend(parts, request)).ending;
}

/** One send, and as a rule that is all: what waiting needs is made when it is needed. */
function contendPlainly(parts: ContendParts, request: GrantRequest): Promise<Grant | undefined> {
  const { calls, node } = parts.context;
  const first = firstSend(parts, request);
  const { grantId, sent, answer } = first;
  const goOn = (): Promise<Grant | undefined> => new Contender(parts, request, first).ending;
  return answer.then((reply) => {
    const fence = plainToken(reply);
    const { ttlMs } = request;
    if (fence === undefined || calls.closeCount() !== first.closes) return goOn();
    if (elapsedMs(node.clock, sent) >= FRESH_SHARE * ttlMs) return goOn();
    const validity = repliedValidity(sent, ttlMs);
    const grant = grantOf(grantId, request, { fence, waiters: 0, validity });
    return parts.grants.add({ grant, ttlMs, validity, isAmbiguous: false });
  }, goOn);
}

/** A request on its way, under one grant id. */
interface Send {
  readonly grantId: string;
  readonly script: RedisScript;
  readonly keys: readonly string[];
  readonly values: readonly string[];
  readonly sent: Instant;
  /** How often the connection had closed before: a change tells that it may have been sent twice. */
  readonly closes: number;
  readonly answer: Promise<unknown>;
}

function firstSend({ context }: ContendParts, request: GrantRequest): Send {
  const { calls, node } = context;
  const grantId = node.nextGrantId();
  const script = isPlain(request) ? ACQUIRE_PLAIN : ACQUIRE;
  const keys = [keyOf(context, request.resource)];
  const terms = termsOf(request, context);
  const values = request.wait ? [terms] : [terms, '0'];
  const sent = instantOf(node.clock);
  const closes = calls.closeCount();
  // What waits for a connection must not be sent once it was given up. Otherwise the signal is not
  // looked at before there is something to wait for: to make one is dear.
  const options = calls.client.status === 'ready' ? undefined : { signal: request.signal };
  const answer = calls.script(script, keys, [grantId, ...values], options);
  return { grantId, script, keys, values, sent, closes, answer };
}

class Contender {
  readonly #parts: ContendParts;
  readonly #request: GrantRequest;
  readonly #ending: Deferred<Grant | undefined> = deferred();
  readonly #first: Send;
  readonly #started: Instant;
  #stopListening: (() => void) | undefined;
  #grantId: string;
  /** When this id was sent first, and when it was last answered "not yet". */
  #firstSent: Instant;
  #sighting: ServerSighting | undefined;
  #isOver = false;
  #isInLine = false;
  /** Sends that may still arrive: not answered, or perhaps repeated by the client itself. */
  #unanswered = 0;
  #failures = 0;
  #cancelTimer: CancelTimer | undefined;

  constructor(parts: ContendParts, request: GrantRequest, first: Send) {
    this.#parts = parts;
    this.#request = request;
    this.#first = first;
    this.#started = first.sent;
    this.#firstSent = first.sent;
    this.#grantId = first.grantId;
    this.#follow(first);
    if (parts.context.calls.client.status !== 'ready') this.#listen();
  }

  get ending(): Promise<Grant | undefined> {
    return this.#ending.promise;
  }

  /** Sends the same request again, or for the first time under a new id. */
  #send(): void {
    const { calls, node } = this.#parts.context;
    const { script, keys, values } = this.#first;
    const sent = instantOf(node.clock);
    const closes = calls.closeCount();
    const options = calls.client.status === 'ready' ? undefined : { signal: this.#request.signal };
    const answer = calls.script(script, keys, [this.#grantId, ...values], options);
    this.#follow({ sent, closes, answer });
    // The request is under way for longer than a round trip.
    this.#listen();
  }

  #follow({ sent, closes, answer }: Pick<Send, 'sent' | 'closes' | 'answer'>): void {
    const { calls } = this.#parts.context;
    const id = this.#grantId;
    this.#unanswered += 1;
    answer.then(
      (reply) => {
        if (this.#isOver || id !== this.#grantId) return;
        if (calls.closeCount() === closes) this.#unanswered -= 1;
        this.#receive(sent, reply);
      },
      (error) => {
        if (!this.#isOver && id === this.#grantId) this.#fail(error);
      },
    );
  }

  /** From now on the request can be given up. */
  #listen(): void {
    if (this.#stopListening !== undefined || this.#isOver) return;
    const { signal } = this.#request;
    this.#stopListening = () => {};
    this.#stopListening = onAbort(signal, () => this.#giveUp(signal.reason));
  }

  #fail(error: unknown): void {
    const { node, times } = this.#parts.context;
    if (!isCoordinationError(error, 'RESULT_UNKNOWN')) this.#unanswered -= 1;
    this.#listen();
    if (this.#isOver) return;
    const isTooLate = elapsedMs(node.clock, this.#started) >= times.replyTimeoutMs;
    // Who may be in line already goes on asking, until its signal ends the wait.
    const mayBeInLine = this.#request.wait && (this.#isInLine || this.#unanswered > 0);
    if (!mayPass(error) || (isTooLate && !mayBeInLine)) this.#giveUp(error);
    else this.#afterBackoff(() => this.#send());
  }

  #receive(sent: Instant, raw: unknown): void {
    if (this.#isOver) return;
    const fence = plainToken(raw);
    if (fence !== undefined) {
      this.#hold({ fence, waiters: 0, validity: repliedValidity(sent, this.#request.ttlMs) });
      return;
    }
    let reply: ContendReply;
    try {
      reply = parseContend(raw, this.#request);
    } catch (error) {
      this.#giveUp(error);
      return;
    }
    if (reply.state === 'held') {
      this.#hold({ ...reply, validity: repliedValidity(sent, reply.remainingMs) });
    } else if (reply.state === 'queued') {
      this.#sighting = { sent, serverUs: reply.serverUs };
      this.#wait(reply.isFirst, reply.holderEndsMs);
    } else if (reply.state === 'gone') this.#startAnew();
    else this.#end(() => this.#ending.resolve(undefined));
  }

  /** The next in line learns of its grant from a message, and need not ask: the engine renews at once. */
  #receivePushed(pushed: PushedGrant): void {
    if (this.#isOver) return;
    const { ttlMs } = this.#request;
    const validity = pushedValidity(pushed, this.#sighting, this.#firstSent, ttlMs);
    if (!this.#isStale(validity, pushed.ttlMs)) this.#accept({ ...pushed, validity });
    else this.#parts.line.ask(this.#grantId);
  }

  #hold(facts: GrantFacts): void {
    const isStale = this.#isStale(facts.validity, this.#request.ttlMs);
    const isEnded = this.#isStale(facts.validity, 0);
    if (isEnded || (isStale && this.#failures < STALE_REPLIES_MAX)) {
      // The reply was long under way. The grant is ours at the server: have it extended, as a
      // waiter's is, before work is begun on it; it is gone if it ended meanwhile.
      this.#joinLine();
      this.#afterBackoff(() => this.#parts.line.ask(this.#grantId));
      return;
    }
    this.#accept(facts);
  }

  #isStale({ since, forMs }: GrantFacts['validity'], ttlMs: number): boolean {
    return forMs - elapsedMs(this.#parts.context.node.clock, since) <= FRESH_SHARE * ttlMs;
  }

  #accept(facts: GrantFacts): void {
    const { ttlMs } = this.#request;
    const { validity } = facts;
    const isAmbiguous = this.#unanswered > 0;
    const grant = grantOf(this.#grantId, this.#request, facts);
    this.#isInLine = false;
    this.#unanswered = 0;
    this.#end(() =>
      this.#ending.resolve(this.#parts.grants.add({ grant, ttlMs, validity, isAmbiguous })),
    );
  }

  #wait(isFirst: boolean, holderEndsMs: number): void {
    this.#joinLine();
    if (this.#isOver) return;
    this.#failures = 0;
    this.#cancelTimer?.();
    // Only the first looks at the holder's end; those behind it are woken by its grant.
    if (!isFirst || holderEndsMs <= 0) return;
    this.#later(holderEndsMs + AFTER_EXPIRY_MS, () => this.#parts.line.ask(this.#grantId));
  }

  #joinLine(): void {
    const { resource, ttlMs } = this.#request;
    this.#isInLine = true;
    this.#listen();
    if (this.#isOver) return;
    this.#parts.line.add({
      grantId: this.#grantId,
      resource,
      ttlMs,
      onReply: (sent, reply) => this.#receive(sent, reply),
      onPushed: (pushed) => this.#receivePushed(pushed),
    });
  }

  /** The id has ended; a new attempt takes its place at the end of the line. */
  #startAnew(): void {
    const isFirst = this.#failures === 0;
    const { node } = this.#parts.context;
    this.#parts.line.remove(this.#grantId);
    this.#grantId = node.nextGrantId();
    this.#isInLine = false;
    this.#unanswered = 0;
    this.#sighting = undefined;
    this.#failures += 1;
    const sendFirst = (): void => {
      this.#firstSent = instantOf(node.clock);
      this.#send();
    };
    this.#listen();
    if (this.#isOver) return;
    if (isFirst) sendFirst();
    else this.#afterBackoff(sendFirst);
  }

  #giveUp(reason: unknown): void {
    if (!this.#isOver) this.#end(() => this.#ending.reject(reason));
  }

  #end(settle: () => void): void {
    const { line, cancel } = this.#parts;
    this.#isOver = true;
    this.#cancelTimer?.();
    this.#stopListening?.();
    line.remove(this.#grantId);
    settle();
    // Also when it was refused: an earlier send, not answered, may still arrive and be granted.
    if (this.#isInLine || this.#unanswered > 0) {
      cancel(this.#request.resource, this.#grantId, this.#request.ttlMs);
    }
  }

  #afterBackoff(action: () => void): void {
    this.#later(backoffMs(this.#failures, RESEND, this.#parts.context.node.random), action);
    this.#failures += 1;
  }

  #later(delayMs: number, action: () => void): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#parts.context.node.clock.schedule(delayMs, () => {
      if (!this.#isOver) action();
    });
  }
}

/** The error of a preparation that failed: nothing of the request itself was sent. */
export function notStarted(error: unknown): unknown {
  if (!isCoordinationError(error, 'RESULT_UNKNOWN')) return error;
  return unavailable('lock.acquire', 'the server does not answer', error);
}
