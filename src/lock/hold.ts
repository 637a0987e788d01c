import { type Clock, instantOf, remainingMs } from '../core/clock.js';
import type { LockId } from '../core/ids.js';
import type { LockContext } from './context.js';
import type { Grant } from './driver.js';
import { lockLostError } from './errors.js';
import { dependableValidity, type KeptGrant, keptForMs, renewalDueMs } from './kept-grant.js';
import { type OpenLease, openLease } from './lease.js';
import type { Lease } from './lock.js';
import type { Claim } from './waiting-room.js';

/** What a hold tells its owner. */
export interface HoldListeners {
  /** A task's lease was released. */
  onFinished(task: number): void;
  /** So many wait elsewhere. */
  onOthers(count: number): void;
  /** The grant ended by itself. */
  onLost(): void;
}

/** A grant of this node, from its arrival to its end, and the lease that a task has of it. */
export interface Hold {
  readonly grant: Grant;
  /** Whether it can be relied on right now; one that cannot is lost by asking. */
  isLasting(): boolean;
  /** Begins a task's lease, of a grant that was just won, or that another task had before. */
  begin(task: number, claim: Claim, fencingToken: bigint, isHandedOver: boolean): Lease;
  /** Gives the grant back to the backend, once. Never rejects. */
  giveBack(): Promise<'released' | 'lost'>;
  /** Ends the lease, without giving the grant back. */
  end(reason: unknown): void;
}

/** Whether a grant arrived too late to begin anything with. */
export function hasEnded(clock: Clock, { validity, loss }: Grant): boolean {
  return loss !== undefined || remainingMs(clock, dependableValidity(validity)) <= 0;
}

/** Begins to keep a grant. */
export function holdGrant(
  context: LockContext,
  owner: LockId,
  grant: Grant,
  ttlMs: number,
  listeners: HoldListeners,
): Hold {
  const { backend, keeper, node } = context;
  let open: OpenLease | undefined;
  let released: Promise<'released' | 'lost'> | undefined;
  const lose = (isGone: boolean, reason: unknown): void => {
    stop();
    keeper.drop(kept);
    released ??= Promise.resolve('lost');
    // Nobody may rely on it here, but there it may still stand: an unanswered renewal may have worked.
    if (!isGone) context.background(backend.release(grant));
    open?.lose(reason);
    listeners.onLost();
  };
  const kept: KeptGrant = {
    grant,
    validity: dependableValidity(grant.validity),
    ttlMs,
    sentTtlMs: ttlMs,
    renewal: 'always',
    dueMs: renewalDueMs(grant.validity),
    cap: undefined,
    renewing: undefined,
    onRenewed: listeners.onOthers,
    onLost: (isGone) => lose(isGone, lossOf(kept, isGone, node.clock)),
  };
  const stop = (): void => {
    grant.onLost = undefined;
  };
  grant.onLost = (reason) => lose(true, reason);
  grant.onWaiters = listeners.onOthers;
  keeper.keep(kept);
  return {
    grant,
    isLasting: () => keeper.check(kept),
    begin(task, claim, fencingToken, isHandedOver) {
      suit(kept, claim, isHandedOver, node.clock);
      keeper.keep(kept);
      const finish = async (): Promise<'released' | 'lost'> => {
        listeners.onFinished(task);
        return released ?? 'released';
      };
      open = openLease({ context, owner, fencingToken, kept, finish });
      return open.lease;
    },
    giveBack() {
      stop();
      const leftMs = keptForMs(node.clock, kept);
      keeper.drop(kept);
      released ??= giveBack(context, grant, leftMs);
      return released;
    },
    end: (reason) => open?.lose(reason),
  };
}

/** Sets what is kept to what the next task asked for. */
function suit(kept: KeptGrant, claim: Claim, isHandedOver: boolean, clock: Clock): void {
  const { ttlMs, renew, maxHoldMs } = claim;
  const isFresh = !isHandedOver && kept.ttlMs === ttlMs;
  const isShort = kept.ttlMs !== ttlMs || keptForMs(clock, kept) < ttlMs / 2;
  kept.ttlMs = ttlMs;
  kept.cap = maxHoldMs === undefined ? undefined : { since: instantOf(clock), forMs: maxHoldMs };
  kept.renewal = renew ? 'always' : isFresh ? 'never' : 'once';
  if (kept.renewal === 'once' || (!isFresh && isShort)) kept.dueMs = clock.monotonicMs();
}

function lossOf({ grant, cap }: KeptGrant, isGone: boolean, clock: Clock): Error {
  const isCapped = cap !== undefined && remainingMs(clock, cap) <= 0;
  const inTime = isCapped ? `its ${cap.forMs} ms are over` : 'it could not be renewed in time';
  const why = isGone ? 'the backend had ended it' : inTime;
  return lockLostError(grant.resource, grant.fencingToken, why);
}

/** Releases; whoever gets no reply before the grant would have ended is judged by the local clock. */
async function giveBack(
  { backend, node }: LockContext,
  grant: Grant,
  leftMs: number,
): Promise<'released' | 'lost'> {
  const guess = leftMs > 0 ? 'released' : 'lost';
  let cancel = (): void => {};
  const late = new Promise<'released' | 'lost'>((resolve) => {
    cancel = node.clock.schedule(leftMs, () => resolve(guess), { keepAlive: false });
  });
  try {
    return await Promise.race([backend.release(grant), late]);
  } catch {
    // The driver goes on trying in the background; the work was done while the lease was held.
    return guess;
  } finally {
    cancel();
  }
}
