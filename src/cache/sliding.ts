import { type Instant, remainingMs, type Validity } from '../core/clock.js';
import type { Deck } from './deck.js';
import type { LocalValue, Sliding } from './driver.js';

/** An entry is extended when so much of its time has gone since it was, not with every hit. */
const PART = 1 / 4;
/** So many extensions are under way at once; hits beyond are answered and extend nothing. */
const RUNNING_MAX = 1_000;

/** Sees to it that hits extend their entries, in the background. */
export interface Slides {
  /** A hit in this process's own memory. */
  hit(key: string, local: LocalValue, sliding: Sliding): void;
  /** A hit in the shared tier, which told what is left of the entry. */
  read(key: string, local: LocalValue, validity: Validity): void;
}

/** The text that stands in the notes of an entry, and in no other entry's. */
export function slidingMark({ ttlMs, endMs }: Sliding): string {
  return `"s":[${ttlMs},${endMs}]`;
}

/** When a copy in this process's memory extends its entry next, on the monotonic clock. */
export function dueMs({ ttlMs }: Sliding, { since, forMs }: Validity, graceMs: number): number {
  return since.monotonicMs + (forMs - graceMs) - ttlMs * (1 - PART);
}

/**
 * Extends entries, each by one call a quarter of its time at most from this process, however often it
 * is hit. An extension that gets no answer is not repeated: the next hit makes another one. It names
 * the entry that was hit, so that what took its place meanwhile keeps its own time, and it never
 * brings an end nearer.
 */
export function slides(deck: Pick<Deck, 'settings' | 'tiers' | 'present' | 'gate'>): Slides {
  const { settings, tiers, present, gate } = deck;
  const { authority } = tiers;
  const running = new Set<string>();

  const extend = (key: string, local: LocalValue, sliding: Sliding, now: Instant): void => {
    if (running.has(key) || running.size >= RUNNING_MAX || gate.isClosed) return;
    const freshMs = Math.min(sliding.ttlMs, sliding.endMs - now.wallMs);
    if (freshMs <= 0) return;
    const ttlMs = freshMs + (local.aging?.graceMs ?? sliding.graceMs ?? 0);
    running.add(key);
    authority
      .extend(key, ttlMs, slidingMark(sliding), settings.tierTimeoutMs)
      .catch(() => {})
      .finally(() => running.delete(key));
  };
  return {
    hit(key, local, sliding) {
      const now = present();
      if (sliding.dueMs === undefined || now.monotonicMs < sliding.dueMs) return;
      sliding.dueMs = now.monotonicMs + sliding.ttlMs * PART;
      extend(key, local, sliding, now);
    },
    read(key, local, validity) {
      const { sliding, aging } = local;
      if (sliding === undefined) return;
      const leftMs = remainingMs(settings.clock, validity) - (aging?.graceMs ?? 0);
      if (leftMs <= sliding.ttlMs * (1 - PART)) extend(key, local, sliding, present());
    },
  };
}
