import type { CancelTimer, Clock } from './clock.js';
import { turnClock } from './coarse-clock.js';

/** Deadlines of very many short calls, with few timers. */
export interface Deadlines {
  /**
   * Calls `onLate` once after `delayMs`, or up to a hundredth of it earlier, 4 ms at most; until then
   * the function that is answered takes it back. Calls of one turn of the event loop may count from its
   * beginning.
   */
  after(delayMs: number, onLate: () => void): () => void;
  /** Calls every `onLate` that is left now, and cancels the timers. */
  expireAll(): void;
}

/** Calls with one delay that began at nearly the same time, and share a timer. */
interface Batch {
  readonly delayMs: number;
  readonly sinceMs: number;
  readonly waiting: Set<() => void>;
  readonly cancel: CancelTimer;
}

const EARLY_PART = 1 / 100;
const EARLY_MS_MAX = 4;

/** Options of {@link deadlines}. */
export interface DeadlinesOptions {
  /** Deadlines that are left keep the process running. Default false. */
  readonly keepAlive?: boolean | undefined;
  /** One timer may stay when nobody waits for it, for who comes next. Default: not with `keepAlive`. */
  readonly lingers?: boolean | undefined;
}

/** Deadlines on a clock; none is set yet. */
export function deadlines(
  clock: Clock,
  { keepAlive = false, lingers = !keepAlive }: DeadlinesOptions = {},
): Deadlines {
  const batches = new Set<Batch>();
  const presentMs = turnClock(clock);
  let newest: Batch | undefined;

  const expire = (batch: Batch): void => {
    batch.cancel();
    batches.delete(batch);
    if (newest === batch) newest = undefined;
    for (const onLate of batch.waiting) onLate();
    batch.waiting.clear();
  };
  const batchFor = (delayMs: number): Batch => {
    const nowMs = presentMs();
    const earlyMs = Math.min(delayMs * EARLY_PART, EARLY_MS_MAX);
    if (newest?.delayMs === delayMs && nowMs - newest.sinceMs <= earlyMs) return newest;
    // Whoever comes later has a timer of his own; this one is needed no more if nobody waits for it.
    if (newest?.waiting.size === 0) expire(newest);
    const cancel = clock.schedule(delayMs, () => expire(batch), { keepAlive });
    const batch: Batch = { delayMs, sinceMs: nowMs, waiting: new Set(), cancel };
    batches.add(batch);
    newest = batch;
    return batch;
  };
  return {
    after(delayMs, onLate) {
      const batch = batchFor(delayMs);
      // A callback may be given twice; each time it is another deadline.
      const late = (): void => onLate();
      batch.waiting.add(late);
      return () => {
        if (!batch.waiting.delete(late) || batch.waiting.size > 0) return;
        if (batch !== newest || !lingers) expire(batch);
      };
    },
    expireAll() {
      for (const batch of Array.from(batches)) expire(batch);
    },
  };
}
