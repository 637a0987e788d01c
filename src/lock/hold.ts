import type { Alarm } from '../core/alarms.js';
import {
  type CancelTimer,
  type Instant,
  instantOf,
  leftAt,
  remainingMs,
  type Validity,
} from '../core/clock.js';
import { FewSet } from '../core/few-map.js';
import type { LockContext } from './context.js';
import type { Grant, RenewReply } from './driver.js';
import { lockLostError } from './errors.js';
import {
  dependableValidity,
  type KeptGrant,
  keptAtMs,
  keptForMs,
  renewalDueMs,
} from './kept-grant.js';
import type { Tenure } from './tenure.js';
import type { Claim } from './waiting-room.js';

/** What a hold tells its owner. */
export interface HoldListeners {
  /** A task's lease was released. */
  onFinished(grant: number, task: number, now: Instant): void;
  /** So many wait elsewhere. */
  onOthers(grant: number, count: number): void;
  /** Its writer became a reader. */
  onDowngraded(grant: number, epoch: bigint, sharesTtlMs: number | undefined): void;
  /** It was retained for as long as was asked for. */
  onRetained(grant: number): void;
  /** The grant ended by itself. */
  onLost(grant: number): void;
}

/** A provisional grant has less than this part of its TTL, and is renewed at once. */
const PROVISIONAL_PART = 2 / 3;

/**
 * A grant of this node, from its arrival to its end, and the leases that tasks have of it. A class,
 * because one is made for most acquires: it is what the keeper keeps, too.
 */
export class Hold implements KeptGrant {
  readonly id: number;
  grant: Grant;
  validity: Validity;
  ttlMs: number;
  sentTtlMs: number;
  renewal: KeptGrant['renewal'] = 'always';
  dueMs: number;
  cap: Validity | undefined;
  renewing: Promise<RenewReply> | undefined;
  /** How it was given back, once it is. */
  released: Promise<'released' | 'lost'> | 'lost' | undefined;
  readonly #context: LockContext;
  readonly #listeners: HoldListeners;
  readonly #tenures = new FewSet<Tenure>();
  readonly #isProvisional: boolean;
  /** The end that `maxHoldMs` sets. */
  #longest: Validity | undefined;
  #idleSinceMs: number | undefined;
  #retainMs = 0;
  #cancelRetention: CancelTimer | undefined;
  #isWatched = false;
  #isLingering = false;
  #lingerCount = 0;
  /** Tells the last one who held it how its release went, once the grant is taken up or given back. */
  #onLingered: ((ending: 'released' | 'lost' | Promise<'released' | 'lost'>) => void) | undefined;

  /** Begins to keep a grant that was won by the request `id`. */
  constructor(
    context: LockContext,
    id: number,
    grant: Grant,
    ttlMs: number,
    listeners: HoldListeners,
  ) {
    const { keeper } = context;
    this.#context = context;
    this.#listeners = listeners;
    this.id = id;
    this.grant = grant;
    this.ttlMs = ttlMs;
    this.sentTtlMs = ttlMs;
    this.validity = dependableValidity(grant.validity);
    const usualMs = Math.min(ttlMs, keeper.validityMsMax);
    this.#isProvisional = grant.validity.forMs < usualMs * PROVISIONAL_PART;
    this.dueMs = this.#isProvisional ? 0 : renewalDueMs(grant.validity);
    this.#attach(grant);
    keeper.keep(this);
  }

  /** Whether it can be relied on right now; one that cannot is lost by asking. */
  get isLasting(): boolean {
    return this.isLastingAt(instantOf(this.#context.node.clock));
  }

  /** The same at an instant of this very turn: each look at the clocks costs as much as the rest here. */
  isLastingAt(now: Instant): boolean {
    return this.#context.keeper.check(this, now);
  }

  get keptForMs(): number {
    return keptForMs(this.#context.node.clock, this);
  }

  /** A task's lease begins, of a grant that was just won, or that others had before or have. */
  admit(tenure: Tenure, claim: Claim, isHandedOver: boolean, now: Instant): void {
    const isShared = this.#tenures.size > 0;
    this.#tenures.add(tenure);
    this.#idleSinceMs = undefined;
    this.#endLinger('released');
    if (!isShared) this.#suit(claim, isHandedOver, now);
  }

  /** A task's lease ends. Answers how that went, if the grant ends with it. */
  finish(
    tenure: Tenure,
    task: number,
    now: Instant,
  ): Promise<'released' | 'lost'> | 'released' | 'lost' {
    this.#tenures.delete(tenure);
    // A grant that is retained lasts for as long as it is retained.
    if (this.#tenures.size === 0) {
      this.#longest = undefined;
      this.cap = undefined;
    }
    this.#listeners.onFinished(this.id, task, now);
    if (this.released === undefined && this.#isLingering) {
      return new Promise((resolve) => {
        this.#onLingered = resolve;
      });
    }
    return this.released ?? 'released';
  }

  /** The last lease ends of a grant of which nobody knows what it is: it goes back to the backend. */
  abandon(tenure: Tenure): Promise<'released' | 'lost'> | 'lost' {
    this.#tenures.delete(tenure);
    const ending = this.giveBack(instantOf(this.#context.node.clock));
    this.#listeners.onLost(this.id);
    return ending;
  }

  /** Extends it for one of those who hold it. */
  extend(ttlMs: number): Promise<RenewReply> {
    this.ttlMs = this.#tenures.size > 1 ? Math.max(ttlMs, this.ttlMs) : ttlMs;
    if (this.renewal !== 'always') this.cap = this.#capAt(ttlMs);
    return this.#context.keeper.renewNow(this);
  }

  /** The writer that holds it is a reader from now on. */
  replace(writer: Tenure, reader: Tenure, grant: Grant): void {
    this.#tenures.delete(writer);
    this.#tenures.add(reader);
    // What is told of the grant that was is of this one: a driver may know the first alone.
    this.grant = grant;
    this.validity = dependableValidity(grant.validity);
    this.#attach(grant);
    this.#context.keeper.keep(this);
    const isPlain = this.renewal === 'always' && this.cap === undefined;
    const { fencingToken: epoch = 0n } = grant;
    this.#listeners.onDowngraded(this.id, epoch, isPlain ? this.ttlMs : undefined);
  }

  /** Nobody holds it; it is kept for so long, from now on. */
  retain(retainMs: number, nowMs: number): void {
    this.#idleSinceMs = nowMs;
    this.#retainMs = retainMs;
    if (this.#cancelRetention === undefined) this.#watchRetention(retainMs);
    this.#watchWaiters();
  }

  /**
   * Nobody holds it; it is kept until the end of this turn of the event loop. Until it is taken up or
   * given back, the release of its last lease is under way.
   */
  linger(begins: boolean): void {
    this.#isLingering = true;
    this.#lingerCount += begins ? 1 : 0;
    // It goes from task to task turn after turn: whoever comes elsewhere must be heard of.
    if (this.#lingerCount > 1) this.#watchWaiters();
  }

  /** Gives the grant back to the backend, once. Never rejects. */
  giveBack(now: Instant): Promise<'released' | 'lost'> | 'lost' {
    if (this.released !== undefined) return this.released;
    const leftMs = keptAtMs(now, this);
    this.#detach();
    this.released = this.#release(leftMs, now.monotonicMs);
    this.#endLinger(this.released);
    return this.released;
  }

  /** Ends the leases, without giving the grant back. */
  end(reason: unknown): void {
    for (const tenure of Array.from(this.#tenures.keys())) tenure.lose(reason);
  }

  onRenewed(waiters: number): void {
    this.#listeners.onOthers(this.id, waiters);
  }

  onLost(isGone: boolean): void {
    this.#lose(isGone, this.#lossOf(isGone));
  }

  #attach(grant: Grant): void {
    grant.onLost = (reason) => this.#lose(true, reason);
    grant.onWaiters = (count) => this.#listeners.onOthers(this.id, count);
  }

  #detach(): void {
    this.grant.onLost = undefined;
    this.grant.onWaiters = undefined;
    this.#cancelRetention?.();
    this.#cancelRetention = undefined;
    this.#context.keeper.drop(this);
  }

  #lose(isGone: boolean, reason: unknown): void {
    const { work, backend } = this.#context;
    this.#detach();
    this.released ??= 'lost';
    // What ended by itself here was released while it stood.
    this.#endLinger(isGone ? 'lost' : 'released');
    // Nobody may rely on it here, but there it may still stand: an unanswered renewal may have worked.
    if (!isGone) work.follow(backend.release(this.grant));
    this.end(reason);
    this.#tenures.clear();
    this.#listeners.onLost(this.id);
  }

  #endLinger(ending: 'released' | 'lost' | Promise<'released' | 'lost'>): void {
    if (!this.#isLingering) return;
    this.#isLingering = false;
    this.#onLingered?.(ending);
    this.#onLingered = undefined;
  }

  #watchWaiters(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    this.#context.backend.watchWaiters?.(this.grant);
  }

  #lossOf(isGone: boolean): Error {
    const { cap, grant } = this;
    const { clock } = this.#context.node;
    const isCapped = cap !== undefined && remainingMs(clock, cap) <= 0;
    const inTime = isCapped ? `its ${cap.forMs} ms are over` : 'it could not be renewed in time';
    const why = isGone ? 'the backend had ended it' : inTime;
    return lockLostError(grant.resource, grant.fencingToken, why);
  }

  /** Sets what is kept to what the next task asked for. */
  #suit({ ttlMs, renew, maxHoldMs }: Claim, isHandedOver: boolean, now: Instant): void {
    const leftMs = keptAtMs(now, this);
    const isPlain = renew && maxHoldMs === undefined && this.cap === undefined;
    const isSame = isPlain && this.ttlMs === ttlMs && this.renewal === 'always';
    if (isSame && (!isHandedOver || leftMs >= ttlMs / 2)) return;
    const isFresh = !isHandedOver && this.ttlMs === ttlMs && !this.#isProvisional;
    const isShort = this.ttlMs !== ttlMs || leftMs < ttlMs / 2;
    this.ttlMs = ttlMs;
    this.renewal = renew ? 'always' : isFresh ? 'never' : 'once';
    this.#longest = maxHoldMs === undefined ? undefined : { since: now, forMs: maxHoldMs };
    this.cap = this.renewal === 'once' ? this.#capAt(ttlMs) : this.#longest;
    if (this.renewal === 'once' || (!isFresh && isShort)) this.dueMs = now.monotonicMs;
    this.#context.keeper.keep(this);
  }

  /**
   * The end of a lease that is not renewed: the grant may last for longer than this task asked for,
   * and the one renewal that shortens it may take its time.
   */
  #capAt(ttlMs: number): Validity {
    const { clock } = this.#context.node;
    const longest = this.#longest;
    if (longest !== undefined && remainingMs(clock, longest) < ttlMs) return longest;
    return { since: instantOf(clock), forMs: ttlMs };
  }

  /** One timer for however many tasks come and go meanwhile. */
  #watchRetention(delayMs: number): void {
    const { clock } = this.#context.node;
    const look = (): void => {
      this.#cancelRetention = undefined;
      if (this.#idleSinceMs === undefined) return;
      const leftMs = this.#idleSinceMs + this.#retainMs - clock.monotonicMs();
      if (leftMs > 0) this.#watchRetention(leftMs);
      else this.#listeners.onRetained(this.id);
    };
    this.#cancelRetention = clock.schedule(delayMs, look, { keepAlive: false });
  }

  /** Releases; whoever gets no reply before the grant would have ended is judged by the local clock. */
  #release(leftMs: number, nowMs: number): Promise<'released' | 'lost'> {
    const { backend, work, releaseEnds } = this.#context;
    work.begin();
    return new Promise((resolve) => {
      let isSettled = false;
      const settle = (ending: 'released' | 'lost'): void => {
        if (isSettled) return;
        isSettled = true;
        releaseEnds.clear(patience);
        work.end();
        resolve(ending);
      };
      const giveUp = (): void => settle(leftMs > 0 ? 'released' : 'lost');
      const patience: Alarm = { atMs: nowMs + leftMs, ring: giveUp };
      releaseEnds.set(patience);
      // The driver goes on trying in the background; the work was done while the lease was held.
      backend.release(this.grant).then(settle, giveUp);
    });
  }
}

/** Whether a grant arrived too late to begin anything with. */
export function hasEnded({ validity, loss }: Grant, now: Instant): boolean {
  return loss !== undefined || leftAt(dependableValidity(validity), now) <= 0;
}
