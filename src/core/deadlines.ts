import type { CancelTimer, Clock } from './clock.js';
import { turnClock } from './coarse-clock.js';

/** Deadlines of very many short calls, with few timers. */
export interface Deadlines {
  /**
   * Calls `onLate` once after `delayMs`, or up to a hundredth of it earlier, 4 ms at most, or an eighth
   * of that later; until then the function that is answered takes it back. Calls of one turn of the event loop may count from its
   * beginning.
   */
  after(delayMs: number, onLate: () => void): () => void;
  /** Calls every `onLate` that is left now, and cancels the timers. */
  expireAll(): void;
}

/** Calls that end at nearly the same time, and share a timer. */
interface Batch {
  readonly endMs: number;
  /**
   * In any order. No Set: where very many come and go, each of its tables holds on to the next one, so
   * that in the end the collector copies everything that ever waited.
   */
  readonly waiting: Waiting[];
  readonly cancel: CancelTimer;
}

interface Waiting {
  /** Where it stands in its batch; -1: nowhere any more. */
  at: number;
  readonly onLate: () => void;
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
    // One of them may take back others.
    for (const one of batch.waiting.splice(0)) {
      if (one.at < 0) continue;
      one.at = -1;
      one.onLate();
    }
  };
  const batchFor = (delayMs: number): Batch => {
    const nowMs = presentMs();
    const earlyMs = Math.min(delayMs * EARLY_PART, EARLY_MS_MAX);
    if (newest !== undefined) {
      const aheadMs = nowMs + delayMs - newest.endMs;
      if (aheadMs >= -earlyMs / 8 && aheadMs <= earlyMs) return newest;
    }
    // Whoever comes later has a timer of his own; this one is needed no more if nobody waits for it.
    if (newest?.waiting.length === 0) expire(newest);
    const cancel = clock.schedule(delayMs, () => expire(batch), { keepAlive });
    const batch: Batch = { endMs: nowMs + delayMs, waiting: [], cancel };
    batches.add(batch);
    newest = batch;
    return batch;
  };
  return {
    after(delayMs, onLate) {
      const batch = batchFor(delayMs);
      const { waiting } = batch;
      const one: Waiting = { at: waiting.length, onLate };
      waiting.push(one);
      return () => {
        if (!takeOut(waiting, one) || waiting.length > 0) return;
        if (batch !== newest || !lingers) expire(batch);
      };
    },
    expireAll() {
      for (const batch of Array.from(batches)) expire(batch);
    },
  };
}

/** False when it is not there any more. */
function takeOut(waiting: Waiting[], one: Waiting): boolean {
  const { at } = one;
  if (at < 0) return false;
  one.at = -1;
  const last = waiting.pop();
  if (last !== undefined && last !== one) {
    last.at = at;
    waiting[at] = last;
  }
  return true;
}
