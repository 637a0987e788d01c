import { onAbort } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import { type CancelTimer, elapsedMs, type Instant, instantOf } from '../../../core/clock.js';
import { type Deferred, deferred } from '../../../core/deferred.js';
import { isCoordinationError } from '../../../core/errors.js';
import type { Grant, GrantRequest } from '../../../lock/driver.js';
import { unavailable } from '../errors.js';
import { ACQUIRE } from './acquire.js';
import { mayPass } from './background.js';
import {
  keysOf,
  partyOf,
  type RedisLockContext,
  tombstoneMs,
  waiterTtlMs,
  wholeTtlMs,
} from './context.js';
import { repliedValidity } from './deadline.js';
import type { HeldGrants } from './held.js';
import type { Line } from './line.js';
import { type ContendReply, type HeldReply, parseContend } from './reply.js';

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
/** A grant with less than this share of its TTL left is asked for again before it is handed out. */
const FRESH_SHARE = 0.5;
/** After so many late replies, one with any time left is taken. */
const STALE_REPLIES_MAX = 3;

/**
 * Contends for one request, under one grant id after the other, until it is granted, refused or
 * given up. Every send of an id is the same request, so a lost reply is answered by asking again.
 */
export function contend(parts: ContendParts, request: GrantRequest): Promise<Grant | undefined> {
  return new Contender(parts, request).ending;
}

class Contender {
  readonly #parts: ContendParts;
  readonly #request: GrantRequest;
  readonly #ending: Deferred<Grant | undefined> = deferred();
  readonly #keys: readonly string[];
  readonly #values: readonly (string | number)[];
  readonly #started: Instant;
  readonly #stopListening: () => void;
  #grantId: string;
  #isOver = false;
  #isInLine = false;
  /** Sends that may still arrive: not answered, or perhaps repeated by the client itself. */
  #unanswered = 0;
  #failures = 0;
  #cancelTimer: CancelTimer = () => {};

  constructor(parts: ContendParts, request: GrantRequest) {
    const { context } = parts;
    const { times, node } = context;
    const { resource, ttlMs, wait, signal } = request;
    this.#parts = parts;
    this.#request = request;
    this.#keys = keysOf(context, resource);
    const waiterTtl = wait ? waiterTtlMs(times) : 0;
    const party = partyOf(request, context);
    this.#values = [wholeTtlMs(ttlMs), party, waiterTtl, tombstoneMs(ttlMs, times)];
    this.#started = instantOf(node.clock);
    this.#grantId = node.nextGrantId();
    this.#stopListening = onAbort(signal, () => this.#giveUp(signal.reason));
    this.#send();
  }

  get ending(): Promise<Grant | undefined> {
    return this.#ending.promise;
  }

  #send(): void {
    const { calls, node } = this.#parts.context;
    const id = this.#grantId;
    const sent = instantOf(node.clock);
    const closes = calls.closeCount();
    this.#unanswered += 1;
    // What waits for a connection must not be sent once it was given up.
    const options = calls.client.status === 'ready' ? undefined : { signal: this.#request.signal };
    calls.script(ACQUIRE, this.#keys, [id, ...this.#values], options).then(
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

  #fail(error: unknown): void {
    const { node, times } = this.#parts.context;
    if (!isCoordinationError(error, 'RESULT_UNKNOWN')) this.#unanswered -= 1;
    const isTooLate = elapsedMs(node.clock, this.#started) >= times.replyTimeoutMs;
    // Who may be in line already goes on asking, until its signal ends the wait.
    const mayBeInLine = this.#request.wait && (this.#isInLine || this.#unanswered > 0);
    if (!mayPass(error) || (isTooLate && !mayBeInLine)) this.#giveUp(error);
    else this.#afterBackoff(() => this.#send());
  }

  #receive(sent: Instant, raw: unknown): void {
    if (this.#isOver) return;
    let reply: ContendReply;
    try {
      reply = parseContend(raw, this.#request.resource, this.#request.capacity);
    } catch (error) {
      this.#giveUp(error);
      return;
    }
    if (reply.state === 'held') this.#hold(sent, reply);
    else if (reply.state === 'queued') this.#wait(reply.isFirst, reply.holderEndsMs);
    else if (reply.state === 'gone') this.#startAnew();
    else this.#end(() => this.#ending.resolve(undefined));
  }

  #hold(sent: Instant, reply: HeldReply): void {
    const { context, grants, line } = this.#parts;
    const { ttlMs } = this.#request;
    const leftMs = reply.remainingMs - elapsedMs(context.node.clock, sent);
    const isStale = leftMs < FRESH_SHARE * ttlMs && this.#failures < STALE_REPLIES_MAX;
    if (leftMs <= 0 || isStale) {
      // The reply was long under way. The grant is ours at the server: have it extended, as a
      // waiter's is, before work is begun on it; it is gone if it ended meanwhile.
      this.#joinLine();
      this.#afterBackoff(() => line.ask(this.#grantId));
      return;
    }
    const validity = repliedValidity(sent, reply.remainingMs);
    const grant = grants.make(this.#grantId, this.#request, reply, validity);
    const isAmbiguous = this.#unanswered > 0;
    this.#isInLine = false;
    this.#unanswered = 0;
    this.#end(() => this.#ending.resolve(grants.add({ grant, ttlMs, validity, isAmbiguous })));
  }

  #wait(isFirst: boolean, holderEndsMs: number): void {
    this.#joinLine();
    this.#failures = 0;
    this.#cancelTimer();
    // Only the first looks at the holder's end; those behind it are woken by its grant.
    if (!isFirst || holderEndsMs <= 0) return;
    this.#later(holderEndsMs + AFTER_EXPIRY_MS, () => this.#parts.line.ask(this.#grantId));
  }

  #joinLine(): void {
    const { resource, ttlMs } = this.#request;
    this.#isInLine = true;
    const onReply = (sent: Instant, reply: unknown): void => this.#receive(sent, reply);
    this.#parts.line.add({ grantId: this.#grantId, resource, ttlMs, onReply });
  }

  /** The id has ended; a new attempt takes its place at the end of the line. */
  #startAnew(): void {
    const isFirst = this.#failures === 0;
    this.#parts.line.remove(this.#grantId);
    this.#grantId = this.#parts.context.node.nextGrantId();
    this.#isInLine = false;
    this.#unanswered = 0;
    if (!isFirst) {
      this.#afterBackoff(() => this.#send());
      return;
    }
    this.#failures += 1;
    this.#send();
  }

  #giveUp(reason: unknown): void {
    if (!this.#isOver) this.#end(() => this.#ending.reject(reason));
  }

  #end(settle: () => void): void {
    const { line, cancel } = this.#parts;
    this.#isOver = true;
    this.#cancelTimer();
    this.#stopListening();
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
    this.#cancelTimer();
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
