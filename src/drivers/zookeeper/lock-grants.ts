import { onAbort } from '../../core/abort.js';
import {
  type CancelTimer,
  type Clock,
  elapsedMs,
  type Instant,
  instantOf,
  remainingMs,
  type Validity,
} from '../../core/clock.js';
import type { CoordinationError } from '../../core/errors.js';
import type { Grant, GrantRequest } from '../../lock/driver.js';
import { lockLostError } from '../../lock/errors.js';
import { loseGrant } from '../../lock/lose-grant.js';
import type { LiveSession } from './live-session.js';
import type { PlaceData } from './lock-data.js';

/** A grant of this node with what the driver needs to keep and to end it. */
export interface HeldGrant {
  /** As it was answered last: a downgrade puts another in its place. */
  readonly grant: Grant;
  readonly live: LiveSession;
  readonly directory: string;
  /** Of its place. */
  readonly path: string;
  /** Of its guard, if it has a lock delay. */
  readonly guardPath: string | undefined;
  /** What the last request for it asked for, in milliseconds. */
  readonly ttlMs: number;
  readonly validity: Validity;
  /** Who holds a shared grant under the name of a writer, as far as is known here. */
  readonly downgraded: Set<string>;
  /** The highest token that it owns. */
  lastToken: bigint | undefined;
  /** A downgrade was sent and not answered: it may be either. */
  isEither: boolean;
  /** What its znode should hold now. */
  data(): PlaceData;
  /** The session was proven alive: the grant is valid for longer. */
  renew(validity: Validity, ttlMs: number): void;
  /** Others wait; tells the engine when they have become more, or in any case. */
  noteWaiters(waiters: number, inAnyCase?: boolean): void;
  /** The grant that stands for it from now on. */
  become(grant: Grant): void;
  /** Called once, at its end, whatever that is. */
  onEnd(listener: () => void): void;
  /** Forgets it; with a reason its lease is lost. */
  end(lostReason?: unknown): void;
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
  /** Called when nobody renewed it in time: its place must go. */
  onExpiry(): void;
}

const BACKGROUND = { keepAlive: false } as const;

/**
 * Starts to keep a grant: its lease is lost when the session ends, and its place goes when nobody
 * renews it, because the session alone would keep it for as long as this process lives.
 */
export function holdGrant(made: NewGrant): HeldGrant {
  const { clock, live, request, waiters } = made;
  const endings: (() => void)[] = [];
  const grantedAt = instantOf(clock);
  let known = waiters;
  let isOver = false;
  const held: Changing<HeldGrant> = {
    grant: grantOf(made),
    live,
    directory: made.directory,
    path: made.path,
    guardPath: made.guardPath,
    ttlMs: request.ttlMs,
    validity: made.validity,
    downgraded: new Set(made.downgraded),
    lastToken: lastOf(made),
    isEither: false,
    data: () => dataOf(held, request.owner, clock, grantedAt),
    renew(validity, ttlMs) {
      held.validity = validity;
      held.ttlMs = ttlMs;
    },
    noteWaiters(count, inAnyCase = false) {
      const isNews = count > known || (inAnyCase && count > 0);
      known = count;
      if (isNews && !isOver) held.grant.onWaiters?.(count);
    },
    become(grant) {
      held.grant = grant;
    },
    onEnd(listener) {
      if (isOver) listener();
      else endings.push(listener);
    },
    end(lostReason) {
      if (isOver) return;
      isOver = true;
      for (const ending of endings.splice(0)) ending();
      if (lostReason !== undefined) loseGrant(held.grant, lostReason);
    },
  };
  endings.push(
    onAbort(live.ended, () => {
      held.end(endedError(held.grant, 'its ZooKeeper session ended', live.ended.reason));
    }),
  );
  watchExpiry(clock, held, made.onExpiry);
  return held;
}

type Changing<T> = { -readonly [Name in keyof T]: T[Name] };

function grantOf(made: NewGrant): Grant {
  const { request, grantId, fencingToken, tokens, validity, waiters } = made;
  const { resource, mode } = request;
  return {
    ...{ grantId, resource, mode, fencingToken, tokens, validity, waiters },
    ...{ loss: undefined, onLost: undefined, onWaiters: undefined },
  };
}

function lastOf({ fencingToken, tokens }: NewGrant): bigint | undefined {
  return fencingToken === undefined ? undefined : fencingToken + BigInt(tokens - 1);
}

function dataOf(held: HeldGrant, owner: string, clock: Clock, since: Instant): PlaceData {
  const { mode, grantId, fencingToken } = held.grant;
  const isDowngraded = mode === 'shared' && held.downgraded.has(grantId);
  const heldForMs = Math.round(elapsedMs(clock, since));
  return { owner, fencingToken, heldForMs, isDowngraded: isDowngraded || undefined };
}

function watchExpiry(clock: Clock, held: HeldGrant, onExpiry: () => void): void {
  let cancel: CancelTimer = () => {};
  const look = (): void => {
    const leftMs = remainingMs(clock, held.validity);
    if (leftMs > 0) {
      cancel = clock.schedule(leftMs, look, BACKGROUND);
      return;
    }
    held.end(endedError(held.grant, 'it was not renewed in time'));
    onExpiry();
  };
  look();
  held.onEnd(() => cancel());
}

/** The reason of a lease that was lost. */
export function endedError(
  { resource, fencingToken }: Grant,
  why: string,
  cause?: unknown,
): CoordinationError<'LOCK_LOST'> {
  return lockLostError(resource, fencingToken, why, cause);
}
