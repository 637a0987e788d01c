import type { Alarm, Alarms } from '../../core/alarms.js';
import {
  type Clock,
  elapsedMs,
  type Instant,
  remainingMs,
  type Validity,
} from '../../core/clock.js';
import type { CoordinationError } from '../../core/errors.js';
import type { Grant, GrantRequest } from '../../lock/driver.js';
import { lockLostError } from '../../lock/errors.js';
import { loseGrant } from '../../lock/lose-grant.js';
import type { LiveSession } from './live-session.js';
import type { PlaceData } from './lock-data.js';

/** How a holder sees what happens around it. */
export interface Outlook {
  /** From now on: a watch on the line. */
  open(): void;
  /** From now on every look that finds somebody waiting is told. */
  report(): void;
}

/** What a new grant is made of. */
export interface NewGrant {
  readonly clock: Clock;
  readonly request: GrantRequest;
  readonly grantId: string;
  readonly live: LiveSession;
  readonly directory: string;
  readonly path: string;
  readonly guardPath: string | undefined;
  readonly fencingToken: bigint | undefined;
  readonly tokens: number;
  readonly validity: Validity;
  readonly waiters: number;
  readonly downgraded: ReadonlySet<string>;
  /** When it was won. */
  readonly grantedAt: Instant;
  readonly alarms: Alarms;
  /** Called when it has lasted for longer than most. */
  onLasting(): void;
  /** Called when nobody renewed it in time: its place must go. */
  onExpiry(): void;
}

/**
 * A critical section that is shorter, in milliseconds, pays for no watch, and its token is not written
 * down for those who inspect.
 */
const LASTING_MS = 50;

/**
 * A grant of this node with what the driver needs to keep and to end it: its lease is lost when the
 * session ends, and its place goes when nobody renews it, because the session alone would keep it for
 * as long as this process lives. A class, because one is made for every acquire.
 */
export class HeldGrant implements Alarm {
  readonly live: LiveSession;
  readonly directory: string;
  /** Of its place. */
  readonly path: string;
  /** Of its guard, if it has a lock delay. */
  readonly guardPath: string | undefined;
  /** Who holds a shared grant under the name of a writer, as far as is known here. */
  readonly downgraded: Set<string>;
  /** As it was answered last: a downgrade puts another in its place. */
  grant: Grant;
  /** What the last request for it asked for, in milliseconds. */
  ttlMs: number;
  validity: Validity;
  /** The highest token that it owns. */
  lastToken: bigint | undefined;
  /** A downgrade was sent and not answered: it may be either. */
  isEither = false;
  /** What its holder sees of the line, once it looks. */
  outlook: Outlook | undefined;
  /** How it was released, once it is. */
  ending: Promise<'released' | 'lost'> | undefined;
  isOver = false;
  atMs: number;
  readonly #made: NewGrant;
  #waiters: number;
  #isLasting = false;
  #endings: (() => void)[] | undefined;

  constructor(made: NewGrant) {
    const { live, request, fencingToken, tokens, grantedAt, validity } = made;
    this.#made = made;
    this.live = live;
    this.directory = made.directory;
    this.path = made.path;
    this.guardPath = made.guardPath;
    this.downgraded = new Set(made.downgraded);
    this.grant = new KnownGrant(this, {
      grantId: made.grantId,
      resource: request.resource,
      mode: request.mode,
      fencingToken,
      tokens,
      validity,
      waiters: made.waiters,
    });
    this.ttlMs = request.ttlMs;
    this.validity = validity;
    this.lastToken = fencingToken === undefined ? undefined : fencingToken + BigInt(tokens - 1);
    this.#waiters = made.waiters;
    this.atMs = grantedAt.monotonicMs + Math.min(LASTING_MS, validity.forMs);
    live.ended.addEventListener('abort', this);
    made.alarms.set(this);
    if (live.ended.aborted) this.handleEvent();
  }

  /** What its znode should hold now. */
  data(): PlaceData {
    const { request, clock, grantedAt } = this.#made;
    const { mode, grantId, fencingToken } = this.grant;
    const isDowngraded = mode === 'shared' && this.downgraded.has(grantId);
    const heldForMs = Math.round(elapsedMs(clock, grantedAt));
    return {
      owner: request.owner,
      fencingToken,
      heldForMs,
      isDowngraded: isDowngraded || undefined,
    };
  }

  /** The session was proven alive: the grant is valid for longer. */
  renew(validity: Validity, ttlMs: number): void {
    this.validity = validity;
    this.ttlMs = ttlMs;
  }

  /** Others wait; tells the engine when they have become more, or in any case. */
  noteWaiters(count: number, inAnyCase = false): void {
    const isNews = count > this.#waiters || (inAnyCase && count > 0);
    this.#waiters = count;
    if (isNews && !this.isOver) this.grant.onWaiters?.(count);
  }

  /** The grant that stands for it from now on, and how it differs from the one before. */
  become(changed: Pick<Grant, 'mode' | 'fencingToken' | 'tokens' | 'validity'>): Grant {
    const { grantId, resource, waiters, loss, onLost, onWaiters } = this.grant;
    const grant = new KnownGrant(this, { grantId, resource, waiters, ...changed });
    this.grant = Object.assign(grant, { loss, onLost, onWaiters });
    return grant;
  }

  /** Called once, at its end, whatever that is. */
  onEnd(listener: () => void): void {
    if (this.isOver) listener();
    else if (this.#endings === undefined) this.#endings = [listener];
    else this.#endings.push(listener);
  }

  /** Forgets it; with a reason its lease is lost. */
  end(lostReason?: unknown): void {
    if (this.isOver) return;
    this.isOver = true;
    this.live.ended.removeEventListener('abort', this);
    this.#made.alarms.clear(this);
    for (const ending of this.#endings?.splice(0) ?? []) ending();
    if (lostReason !== undefined) loseGrant(this.grant, lostReason);
  }

  /** Its session has ended. */
  handleEvent(): void {
    this.end(endedError(this.grant, 'its ZooKeeper session ended', this.live.ended.reason));
  }

  /** It has lasted for a while, or its time may be over. */
  ring(): void {
    const { clock, alarms, onLasting, onExpiry } = this.#made;
    const leftMs = remainingMs(clock, this.validity);
    if (leftMs <= 0) {
      this.end(endedError(this.grant, 'it was not renewed in time'));
      onExpiry();
      return;
    }
    this.atMs = clock.monotonicMs() + leftMs;
    alarms.set(this);
    if (this.#isLasting) return;
    this.#isLasting = true;
    onLasting();
  }
}

/** A grant that leads to what is known of it, also after its end. */
class KnownGrant implements Grant {
  readonly grantId: string;
  readonly resource: string;
  readonly mode: Grant['mode'];
  readonly fencingToken: bigint | undefined;
  readonly tokens: number;
  readonly validity: Validity;
  readonly waiters: number;
  loss: Grant['loss'];
  onLost: Grant['onLost'];
  onWaiters: Grant['onWaiters'];
  readonly #held: HeldGrant;

  constructor(held: HeldGrant, facts: Omit<Grant, 'loss' | 'onLost' | 'onWaiters'>) {
    this.#held = held;
    this.grantId = facts.grantId;
    this.resource = facts.resource;
    this.mode = facts.mode;
    this.fencingToken = facts.fencingToken;
    this.tokens = facts.tokens;
    this.validity = facts.validity;
    this.waiters = facts.waiters;
  }

  static heldOf(grant: Grant): HeldGrant | undefined {
    return #held in grant ? grant.#held : undefined;
  }
}

/** What is known of a grant that this driver answered; undefined for any other object. */
export function heldOf(grant: Grant): HeldGrant | undefined {
  return KnownGrant.heldOf(grant);
}

/** The reason of a lease that was lost. */
export function endedError(
  { resource, fencingToken }: Grant,
  why: string,
  cause?: unknown,
): CoordinationError<'LOCK_LOST'> {
  return lockLostError(resource, fencingToken, why, cause);
}
