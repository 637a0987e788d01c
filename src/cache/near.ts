import type { Validity } from '../core/clock.js';
import type { Deck } from './deck.js';
import type { FillTicket, LocalValue } from './driver.js';
import { freshMsOf } from './lifetime.js';

/**
 * Keeps a copy in this process's memory, as long as it is as good as new: for its last parts the
 * authority is asked, which knows who refreshes it.
 */
export function keepNear(
  { tiers: { near }, settings: { localTtlMs } }: Deck,
  ticket: FillTicket | undefined,
  local: LocalValue | undefined,
  { since, forMs }: Validity,
): void {
  if (near === undefined || ticket === undefined || local === undefined) return;
  const { aging } = local;
  const freshMs = Math.min(freshMsOf(aging, forMs), localTtlMs);
  const copy = aging === undefined ? local : { ...local, aging: undefined };
  near.put(ticket, copy, { since, forMs: freshMs });
}
