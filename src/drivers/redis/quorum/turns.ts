import { onAbort } from '../../../core/abort.js';
import type { Clock } from '../../../core/clock.js';
import type { QuorumNode } from './context.js';
import { majorityOf } from './rules.js';

/** Wakes the waiters of one process whose turn it may be. */
export interface Turns {
  /** Begins to listen for one request, before it stands in line. */
  open(grantId: string): Turn;
  /** A node says that its vote is free for this request. */
  tell(grantId: string, from: QuorumNode): void;
  /** Wakes everybody, because messages may have been missed. */
  wakeAll(): void;
}

/** One request that waits. */
export interface Turn {
  /** Resolves when it is time to try again: after `delayMs`, or when woken. Never rejects. */
  next(delayMs: number, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** The other nodes' messages are this near behind the first one, as a rule. */
const STRAGGLER_MS = 5;

interface Slot {
  readonly told: Set<number>;
  wake: (() => void) | undefined;
  cancel: () => void;
}

/** Nobody waits yet. */
export function turns(clock: Clock, nodeCount: number): Turns {
  const slots = new Map<string, Slot>();
  const majority = majorityOf(nodeCount);
  const wake = (slot: Slot): void => {
    slot.cancel();
    slot.told.clear();
    slot.wake?.();
    slot.wake = undefined;
  };
  /** A try before the votes of a majority are free would only have to be taken back. */
  const look = (slot: Slot): void => {
    if (slot.wake === undefined || slot.told.size === 0) return;
    slot.cancel();
    if (slot.told.size >= majority) wake(slot);
    else slot.cancel = clock.schedule(STRAGGLER_MS, () => wake(slot));
  };
  return {
    open(grantId) {
      const slot: Slot = { told: new Set(), wake: undefined, cancel: () => {} };
      slots.set(grantId, slot);
      return {
        async next(delayMs, signal) {
          if (signal.aborted) return;
          let stop = (): void => {};
          await new Promise<void>((resolve) => {
            slot.wake = resolve;
            slot.cancel = clock.schedule(delayMs, () => wake(slot));
            stop = onAbort(signal, () => wake(slot));
            look(slot);
          });
          stop();
        },
        close() {
          slot.cancel();
          slots.delete(grantId);
        },
      };
    },
    tell(grantId, from) {
      const slot = slots.get(grantId);
      if (slot === undefined) return;
      slot.told.add(from.number);
      look(slot);
    },
    wakeAll() {
      for (const slot of Array.from(slots.values())) wake(slot);
    },
  };
}
