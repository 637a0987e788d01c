import type { Validity } from '../core/clock.js';
import type { Deck } from './deck.js';
import type { FillTicket, LocalValue } from './driver.js';
import type { Isolated } from './isolation.js';
import { freshMsOf } from './lifetime.js';
import { dueMs } from './sliding.js';

/**
 * Keeps a copy in this process's memory, as long as it is as good as new: for its last parts the
 * authority is asked, which knows who refreshes it. The versions of its tags are as of a moment after
 * `stampedAfter`, by default that of the ticket.
 */
export function keepNear(
  { tiers: { near }, settings: { localTtlMs } }: Deck,
  ticket: FillTicket | undefined,
  local: LocalValue | Isolated | undefined,
  { since, forMs }: Validity,
  stampedAfter: number = ticket?.moment ?? 0,
): void {
  if (near === undefined || ticket === undefined || local === undefined) return;
  const { aging } = local;
  const graceMs = aging?.graceMs ?? 0;
  const sliding = local.sliding && {
    ...local.sliding,
    graceMs,
    dueMs: dueMs(local.sliding, { since, forMs }, graceMs),
  };
  const freshMs = Math.min(freshMsOf(aging, forMs), localTtlMs);
  for (const { tag, version } of local.tags ?? []) near.tags.note(tag, version, stampedAfter);
  const isLean = aging === undefined && local.sliding === undefined && !('encoded' in local);
  const copy = isLean ? local : { ...local, aging: undefined, encoded: undefined, sliding };
  near.put(ticket, copy, { since, forMs: freshMs });
}
