import { type CancelTimer, type Instant, instantOf } from '../../../core/clock.js';
import { slotGroups } from '../slots.js';
import { keyOf, type RedisLockContext, wholeTtlMs } from './context.js';
import { HEARTBEAT } from './heartbeat.js';
import type { PushedGrant } from './inbox.js';

/** Somebody of this process who stands in line. */
export interface Waiter {
  readonly grantId: string;
  readonly resource: string;
  readonly ttlMs: number;
  /** Takes the answer to a heartbeat, with the time before that was sent. */
  onReply(sent: Instant, reply: unknown): void;
  /** Takes its grant, as a message told it. */
  onPushed(pushed: PushedGrant): void;
}

/** All waiters of one process, kept in their lines by one heartbeat a period. */
export interface Line {
  add(waiter: Waiter): void;
  remove(grantId: string): void;
  /** Asks for one waiter now, because its grant may have been written. */
  ask(grantId: string): void;
  /** Tells one waiter of its grant; one that has not joined yet hears of it when it does. */
  tell(grantId: string, pushed: PushedGrant): void;
  /** Asks for all of them now, because messages may have been missed. */
  askAll(): void;
  close(): void;
}

/** Grants that are remembered for waiters whose own reply is still under way: the newest. */
const EARLY_MAX = 1_000;

/** Waiters that one command asks for; it bounds how long one script runs, to a few milliseconds. */
const BATCH = 250;

/** The waiters of one process, and the one command a period, in a cluster a period and slot, that keeps them in line. */
export function waitingLine(context: RedisLockContext): Line {
  const { node, calls, times } = context;
  const waiters = new Map<string, Waiter>();
  const asking = new Set<string>();
  // The message comes on another connection than the reply "queued", and may overtake it.
  const early = new Map<string, PushedGrant>();
  let cancelBeat: CancelTimer | undefined;

  const beat = (batch: readonly Waiter[]): void => {
    const sent = instantOf(node.clock);
    const keys = batch.map(({ resource }) => keyOf(context, resource));
    const values = batch.flatMap(({ grantId, ttlMs }) => [grantId, wholeTtlMs(ttlMs)]);
    for (const { grantId } of batch) asking.add(grantId);
    const done = (): void => {
      for (const { grantId } of batch) asking.delete(grantId);
    };
    calls.script(HEARTBEAT, keys, values).then(
      (replies) => {
        done();
        if (!Array.isArray(replies)) return;
        for (const [index, { grantId }] of batch.entries()) {
          waiters.get(grantId)?.onReply(sent, replies[index]);
        }
      },
      () => {
        done();
        // While a cluster moves a slot, several of its keys may not be together anywhere. Whatever
        // else went wrong, the next period asks again, and the request's signal ends the wait.
        if (calls.client.isCluster && batch.length > 1) for (const one of batch) beat([one]);
      },
    );
  };
  const beatAll = (all: readonly Waiter[]): void => {
    const ofWaiter = ({ resource }: Waiter): string => keyOf(context, resource);
    for (const batch of slotGroups(calls.client, all, ofWaiter, BATCH)) beat(batch);
  };
  const arm = (): void => {
    cancelBeat ??= node.clock.schedule(times.heartbeatMs, () => {
      cancelBeat = undefined;
      // One that is not answered yet needs no second one: a frozen server must not be flooded.
      beatAll([...waiters.values()].filter(({ grantId }) => !asking.has(grantId)));
      if (waiters.size > 0) arm();
    });
  };

  return {
    add(waiter) {
      waiters.set(waiter.grantId, waiter);
      arm();
      const pushed = early.get(waiter.grantId);
      if (pushed === undefined) return;
      early.delete(waiter.grantId);
      waiter.onPushed(pushed);
    },
    remove(grantId) {
      waiters.delete(grantId);
      if (waiters.size > 0) return;
      cancelBeat?.();
      cancelBeat = undefined;
    },
    ask(grantId) {
      const waiter = waiters.get(grantId);
      if (waiter !== undefined) beat([waiter]);
    },
    tell(grantId, pushed) {
      const waiter = waiters.get(grantId);
      if (waiter !== undefined) return waiter.onPushed(pushed);
      early.set(grantId, pushed);
      if (early.size > EARLY_MAX) early.delete(early.keys().next().value ?? '');
    },
    askAll: () => beatAll([...waiters.values()]),
    close() {
      waiters.clear();
      early.clear();
      cancelBeat?.();
    },
  };
}
