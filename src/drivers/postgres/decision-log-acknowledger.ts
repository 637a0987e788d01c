import { backoffMs } from '../../core/backoff.js';
import type { CancelTimer } from '../../core/clock.js';
import type { Acknowledgement, DecisionLogNode } from '../../transaction/decision-log.js';
import type { AcknowledgedPair } from './decision-log-statements.js';
import type { LogStore } from './decision-log-store.js';

/** Collects acknowledgements and writes them a little later, many in one message. */
export interface Acknowledger {
  /** Resolves when they are queued; when the queue is long, after it was written. */
  add(acknowledgements: readonly Acknowledgement[]): Promise<void>;
  /** Writes what waits. Never rejects: what could not be written stays queued. */
  flush(): Promise<void>;
  close(): void;
}

/** How long an acknowledgement waits for company. */
const DELAY_MS = 25;
const RETRY_BACKOFF = { baseMs: 100, maxMs: 2_000 };
const MESSAGE_MAX = 500;
/** From here on callers wait for the write. */
const QUEUE_SOFT_MAX = 5_000;
/** From here on acknowledgements are forgotten, which costs a repeated commit each. */
const QUEUE_MAX = 100_000;

/** The acknowledger of one session. */
export function acknowledger(store: LogStore, { clock, random }: DecisionLogNode): Acknowledger {
  let queue: AcknowledgedPair[] = [];
  let cancelTimer: CancelTimer | undefined;
  let flushing: Promise<void> | undefined;
  let failures = 0;
  let isClosed = false;

  const writeAll = async (batch: readonly AcknowledgedPair[]): Promise<void> => {
    for (let from = 0; from < batch.length; from += MESSAGE_MAX) {
      const part = batch.slice(from, from + MESSAGE_MAX);
      try {
        await store.once(store.statements.acknowledge(part));
        failures = 0;
      } catch {
        // Writing one twice is harmless, so a lost reply is simply sent again.
        failures += 1;
        queue = [...batch.slice(from), ...queue].slice(0, QUEUE_MAX);
        return;
      }
    }
  };
  const schedule = (): void => {
    if (isClosed || queue.length === 0 || cancelTimer !== undefined) return;
    const delayMs = failures === 0 ? DELAY_MS : backoffMs(failures, RETRY_BACKOFF, random);
    const onTime = (): void => {
      cancelTimer = undefined;
      void flush();
    };
    cancelTimer = clock.schedule(delayMs, onTime, { keepAlive: false });
  };
  const flush = (): Promise<void> => {
    flushing ??= (async () => {
      const batch = queue;
      queue = [];
      await writeAll(batch);
      flushing = undefined;
      schedule();
    })();
    return flushing;
  };
  return {
    async add(acknowledgements) {
      if (queue.length < QUEUE_MAX) {
        for (const { transactionId, participant } of acknowledgements) {
          queue.push([transactionId, participant]);
        }
      }
      schedule();
      if (queue.length > QUEUE_SOFT_MAX) await flush();
    },
    flush,
    close() {
      isClosed = true;
      cancelTimer?.();
    },
  };
}
