import type { Clock } from '../../core/clock.js';

/** The epochs of resources that nobody holds, for a while: readers on both sides of a pause share one. */
export interface Epochs {
  keep(resource: string, epoch: bigint): void;
  /** Takes it out again. */
  take(resource: string): bigint | undefined;
}

const KEPT_MS = 3_600_000;
const KEPT_COUNT_MAX = 10_000;

/**
 * Keeps the newest 10,000 epochs for an hour. A reader of a resource whose epoch was forgotten gets a
 * new one, which is above every token of before and below the next writer's all the same.
 */
export function epochs(clock: Clock): Epochs {
  const kept = new Map<string, { readonly epoch: bigint; readonly untilMs: number }>();
  return {
    keep(resource, epoch) {
      kept.delete(resource);
      kept.set(resource, { epoch, untilMs: clock.monotonicMs() + KEPT_MS });
      if (kept.size <= KEPT_COUNT_MAX) return;
      const oldest = kept.keys().next().value;
      if (oldest !== undefined) kept.delete(oldest);
    },
    take(resource) {
      const found = kept.get(resource);
      kept.delete(resource);
      return found !== undefined && found.untilMs > clock.monotonicMs() ? found.epoch : undefined;
    },
  };
}
