import { elapsedMs, instantOf } from '../core/clock.js';
import { CoordinationError } from '../core/errors.js';
import type { LockId } from '../core/ids.js';
import { assertTtlMs } from '../core/validate.js';
import type { LockContext } from './context.js';
import { lockLostError } from './errors.js';
import { type KeptGrant, keptForMs } from './kept-grant.js';
import type { Lease } from './lock.js';

/** What a lease is made of. */
export interface LeaseParts {
  readonly context: LockContext;
  readonly owner: LockId;
  readonly fencingToken: bigint;
  readonly kept: KeptGrant;
  /** Hands the grant on, or gives it back to the backend. Never rejects. */
  readonly finish: () => Promise<'released' | 'lost'>;
}

/** A lease, and the end that its maker can put to it. */
export interface OpenLease {
  readonly lease: Lease;
  /** Ends it without a release. Does nothing when it has ended. */
  lose(reason: unknown): void;
}

/** A lease that begins now. */
export function openLease(parts: LeaseParts): OpenLease {
  const { owner, fencingToken, kept } = parts;
  const { keeper, recorder, channels, node, backendName } = parts.context;
  const { resource } = kept.grant;
  const { clock } = node;
  const loss = lateSignal();
  const since = instantOf(clock);
  const facts = () => ({ resource, owner, fencingToken, heldMs: elapsedMs(clock, since) });
  let state: 'held' | 'ended' = 'held';
  let releasing: Promise<'released' | 'lost'> | undefined;

  const isHeld = (): boolean => state === 'held' && keeper.check(kept);
  const publishLoss = (reason: unknown, heldMs: number): void => {
    recorder.ended('lost', heldMs);
    loss.abort(reason);
    channels.lost.publish(() => ({ ...facts(), heldMs, reason }));
  };
  const lose = (reason: unknown): void => {
    if (state !== 'held') return;
    state = 'ended';
    publishLoss(reason, elapsedMs(clock, since));
  };
  const release = async (): Promise<'released' | 'lost'> => {
    if (!isHeld()) return 'lost';
    const heldMs = elapsedMs(clock, since);
    state = 'ended';
    const ending = await parts.finish();
    if (ending === 'lost') {
      publishLoss(lockLostError(resource, fencingToken, 'the backend had ended it'), heldMs);
    } else {
      recorder.ended('released', heldMs);
      channels.released.publish(() => ({ ...facts(), heldMs }));
    }
    return ending;
  };
  const operation = () => ({ resource, owner, backend: backendName, fencingToken });
  const lease: Lease = {
    resource,
    owner,
    fencingToken,
    get signal() {
      isHeld();
      return loss.signal();
    },
    get isHeld() {
      return isHeld();
    },
    get remainingMs() {
      return isHeld() ? keptForMs(clock, kept) : 0;
    },
    assertHeld() {
      if (!isHeld()) throw endedError(lease);
    },
    extend: (ttlMs) => extend(parts, lease, ttlMs),
    release() {
      releasing ??= channels.release.trace(operation, release);
      return releasing;
    },
    async [Symbol.asyncDispose]() {
      await lease.release();
    },
  };
  return { lease, lose };
}

async function extend(
  { kept, context: { keeper, backendName } }: LeaseParts,
  lease: Lease,
  ttlMs: number = kept.ttlMs,
): Promise<void> {
  assertTtlMs(ttlMs);
  lease.assertHeld();
  kept.ttlMs = ttlMs;
  const reply = await keeper.renewNow(kept);
  lease.assertHeld();
  if (reply.state === 'held') return;
  throw new CoordinationError(
    'RESULT_UNKNOWN',
    `no reply came to the renewal of "${lease.resource}"; its lease lasts for ${Math.round(lease.remainingMs)} ms, whatever came of it`,
    { backend: backendName, operation: 'renew' },
    reply.state === 'unknown' ? { cause: reply.cause } : undefined,
  );
}

/** A signal that is made when somebody looks: most leases end before, and signals are dear. */
function lateSignal() {
  let controller: AbortController | undefined;
  let aborted: { readonly reason: unknown } | undefined;
  return {
    signal(): AbortSignal {
      if (controller === undefined) {
        controller = new AbortController();
        if (aborted !== undefined) controller.abort(aborted.reason);
      }
      return controller.signal;
    },
    abort(reason: unknown): void {
      aborted = { reason };
      controller?.abort(reason);
    },
  };
}

/** Why a lease is not held: the reason of its loss, or that it was released. */
function endedError({ signal, resource, fencingToken }: Lease): unknown {
  return signal.aborted
    ? signal.reason
    : lockLostError(resource, fencingToken, 'it was released before');
}
