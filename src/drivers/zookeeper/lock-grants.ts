import { onAbort } from '../../core/abort.js';
import {
  type CancelTimer,
  elapsedMs,
  instantOf,
  remainingMs,
  type Validity,
} from '../../core/clock.js';
import { CoordinationError } from '../../core/errors.js';
import type { Grant, GrantRequest } from '../../lock/driver.js';
import { loseGrant } from '../../lock/lose-grant.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { encodePlace, type PlaceData } from './lock-data.js';
import { ANY_VERSION } from './requests.js';

/** A grant of this node with what the driver needs to keep and to end it. */
export interface HeldGrant {
  readonly grant: Grant;
  readonly live: LiveSession;
  readonly directory: string;
  readonly path: string;
  readonly capacity: number;
  /** What its znode holds, or will hold once it is published. */
  readonly data: PlaceData;
  /** The session was proven alive: the grant is valid for longer. */
  renew(validity: Validity): void;
  /** Others wait; tells the engine when they have become more. */
  noteWaiters(waiters: number): void;
  /** Called once, at its end, whatever that is. */
  onEnd(listener: () => void): void;
  /** Forgets it; with a reason its lease is lost. */
  end(lostReason?: unknown): void;
}

/** What a new grant is made of. */
export interface NewGrant {
  readonly request: GrantRequest;
  readonly grantId: string;
  readonly live: LiveSession;
  readonly directory: string;
  readonly path: string;
  readonly fencingToken: bigint | undefined;
  readonly tokens: number;
  readonly validity: Validity;
  readonly waiters: number;
  /** Called when nobody renewed it in time: its place must go. */
  onExpiry(): void;
}

/** A short critical section never pays for making its token visible to `inspect`. */
const PUBLISH_AFTER_MS = 50;
const BACKGROUND = { keepAlive: false } as const;

/**
 * Starts to keep a grant: its lease is lost when the session ends, and its place goes when nobody
 * renews it, because the session alone would keep it for as long as this process lives.
 */
export function holdGrant(connection: Connection, made: NewGrant): HeldGrant {
  const { live, directory, path } = made;
  const { owner, capacity } = made.request;
  const grant = grantOf(made);
  const endings: (() => void)[] = [];
  let known = made.waiters;
  let isOver = false;
  const held: HeldGrant & { data: PlaceData; validity: Validity } = {
    ...{ grant, live, directory, path, capacity, validity: made.validity },
    data: { owner, capacity, fencingToken: made.fencingToken },
    renew(validity) {
      held.validity = validity;
    },
    noteWaiters(count) {
      const grew = count > known;
      known = count;
      if (grew && !isOver) grant.onWaiters?.(count);
    },
    onEnd(listener) {
      if (isOver) listener();
      else endings.push(listener);
    },
    end(lostReason) {
      if (isOver) return;
      isOver = true;
      for (const ending of endings.splice(0)) ending();
      if (lostReason !== undefined) loseGrant(grant, lostReason);
    },
  };
  endings.push(onAbort(live.ended, () => held.end(sessionLostError(grant, live.ended.reason))));
  if (made.fencingToken !== undefined) publishLater(connection, held);
  watchExpiry(connection, held, made.onExpiry);
  return held;
}

function grantOf(made: NewGrant): Grant {
  const { request, grantId, fencingToken, tokens, validity, waiters } = made;
  const { resource, mode } = request;
  return {
    ...{ grantId, resource, mode, fencingToken, tokens, validity, waiters },
    ...{ loss: undefined, onLost: undefined, onWaiters: undefined },
  };
}

/** Writes token and time into the place, for those who inspect; nothing depends on it. */
function publishLater(connection: Connection, held: HeldGrant & { data: PlaceData }): void {
  const { clock } = connection;
  const { live, path } = held;
  const grantedAt = instantOf(clock);
  const publish = async (): Promise<void> => {
    const nowMs = await connection.serverTimeMs(live);
    const heldSinceMs = Math.round(nowMs - elapsedMs(clock, grantedAt));
    held.data = { ...held.data, heldSinceMs };
    await live.ask.set(path, encodePlace(held.data), ANY_VERSION);
  };
  const callback = (): void => void publish().catch(() => {});
  held.onEnd(clock.schedule(PUBLISH_AFTER_MS, callback, BACKGROUND));
}

function watchExpiry(
  { clock }: Connection,
  held: HeldGrant & { readonly validity: Validity },
  onExpiry: () => void,
): void {
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

function sessionLostError(grant: Grant, cause: unknown): CoordinationError<'LOCK_LOST'> {
  return endedError(grant, 'its ZooKeeper session ended', cause);
}

/** The reason of a lease that was lost. */
export function endedError(
  { resource, fencingToken }: Grant,
  why: string,
  cause?: unknown,
): CoordinationError<'LOCK_LOST'> {
  const shown = JSON.stringify(resource);
  const message = `the lease of ${shown} has ended: ${why}`;
  return new CoordinationError('LOCK_LOST', message, { resource, fencingToken }, { cause });
}
