import { type CancelTimer, type Instant, instantOf } from '../../../core/clock.js';
import { keysOf, type RedisLockContext, tombstoneMs, waiterTtlMs, wholeTtlMs } from './context.js';
import { HEARTBEAT } from './heartbeat.js';

/** Somebody of this process who stands in line. */
export interface Waiter {
  readonly grantId: string;
  readonly resource: string;
  readonly ttlMs: number;
  /** Takes the answer to a heartbeat, with the time before that was sent. */
  onReply(sent: Instant, reply: unknown): void;
}

/** All waiters of one process, kept in their lines by one heartbeat a period. */
export interface Line {
  add(waiter: Waiter): void;
  remove(grantId: string): void;
  /** Asks for one waiter now, because its grant may have been written. */
  ask(grantId: string): void;
  /** Asks for all of them now, because messages may have been missed. */
  askAll(): void;
  close(): void;
}

/** Waiters that one command asks for; it bounds how long one script runs. */
const BATCH = 50;

/**
 * The waiters of one process. In a cluster each resource is a slot of its own, so each waiter needs
 * a command of its own; elsewhere 50 share one.
 */
export function waitingLine(context: RedisLockContext): Line {
  const { node, calls, times } = context;
  const waiters = new Map<string, Waiter>();
  const asking = new Set<string>();
  let cancelBeat: CancelTimer | undefined;

  const beat = (batch: readonly Waiter[]): void => {
    const sent = instantOf(node.clock);
    const buryMs = Math.max(...batch.map(({ ttlMs }) => tombstoneMs(ttlMs, times)));
    const keys = batch.flatMap(({ resource }) => keysOf(context, resource));
    const values = batch.flatMap(({ grantId, ttlMs }) => [grantId, wholeTtlMs(ttlMs)]);
    for (const { grantId } of batch) asking.add(grantId);
    const done = (): void => {
      for (const { grantId } of batch) asking.delete(grantId);
    };
    calls.script(HEARTBEAT, keys, [waiterTtlMs(times), buryMs, ...values]).then(
      (replies) => {
        done();
        if (!Array.isArray(replies)) return;
        for (const [index, { grantId }] of batch.entries()) {
          waiters.get(grantId)?.onReply(sent, replies[index]);
        }
      },
      // Whatever went wrong, the next period asks again, and the request's signal ends the wait.
      done,
    );
  };
  const beatAll = (all: readonly Waiter[]): void => {
    const size = calls.client.isCluster ? 1 : BATCH;
    for (let start = 0; start < all.length; start += size) beat(all.slice(start, start + size));
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
    askAll: () => beatAll([...waiters.values()]),
    close() {
      waiters.clear();
      cancelBeat?.();
    },
  };
}
