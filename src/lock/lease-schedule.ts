import { type Agenda, agenda } from '../core/agenda.js';
import type { CancelTimer, Clock } from '../core/clock.js';
import { FewSet } from '../core/few-map.js';
import { type KeptGrant, keptForMs } from './kept-grant.js';

/** Knows what is to be done next to which grant, and rings when it is time. */
export interface LeaseSchedule {
  has(kept: KeptGrant): boolean;
  /** Takes a grant in, or notices that its times were changed. */
  put(kept: KeptGrant): void;
  /** False when it was not there. */
  remove(kept: KeptGrant): boolean;
  /** Cancels the timer; nothing is there any more. */
  close(): void;
}

/** What happens when it is time. */
export interface ScheduleListeners {
  /** A renewal of these is due, or nearly. They still stand. */
  onDue(batch: readonly KeptGrant[]): void;
  /** It has ended, and was removed. */
  onEnded(kept: KeptGrant): void;
}

/** What is due within this part of the first one's validity goes along with its batch. */
const BATCH_PART = 1 / 12;

/**
 * A schedule of renewals and ends. One timer for all, and work in proportion to what is due: a
 * process may hold tens of thousands of leases.
 */
export function leaseSchedule(clock: Clock, listeners: ScheduleListeners): LeaseSchedule {
  const all = new FewSet<KeptGrant>();
  /** Those that are renewed as a matter of course, and were taken in since the timer rang last. */
  const fresh = new FewSet<KeptGrant>();
  const renewals = agenda<KeptGrant>();
  const ends = agenda<KeptGrant>();
  const alarm = earliestAlarm(clock, () => ring());

  const remove = (kept: KeptGrant): boolean => {
    if (!fresh.delete(kept)) {
      renewals.strike(kept);
      ends.strike(kept);
    }
    return all.delete(kept);
  };
  const put = (kept: KeptGrant): void => {
    const isPlain = kept.renewal === 'always' && kept.cap === undefined;
    if (isPlain && kept.renewing === undefined && (!all.has(kept) || fresh.has(kept))) {
      // Most are released long before: they are sorted in if they are still there by then.
      all.add(kept);
      fresh.add(kept);
      alarm.at(kept.dueMs);
    } else {
      fresh.delete(kept);
      sort(kept);
    }
  };
  const sort = (kept: KeptGrant): void => {
    const endMs = clock.monotonicMs() + keptForMs(clock, kept);
    const renews = kept.renewal !== 'never' && kept.renewing === undefined && kept.dueMs < endMs;
    (renews ? ends : renewals).strike(kept);
    (renews ? renewals : ends).note(kept, renews ? kept.dueMs : endMs);
    all.add(kept);
    alarm.at(Math.min(renewals.nextMs, ends.nextMs));
  };
  /** Compares the clock, as the wall clock alone may have ended it. */
  const look = (kept: KeptGrant): void => {
    if (!all.has(kept)) return;
    if (keptForMs(clock, kept) > 0) put(kept);
    else if (remove(kept)) listeners.onEnded(kept);
  };
  const ring = (): void => {
    const nowMs = clock.monotonicMs();
    for (const kept of fresh.keys()) sort(kept);
    fresh.clear();
    const first = renewals.take(nowMs);
    const untilMs = nowMs + (first?.validity.forMs ?? 0) * BATCH_PART;
    const due = first === undefined ? [] : [first, ...taken(renewals, untilMs)];
    for (const kept of [...taken(ends, nowMs), ...due]) look(kept);
    const standing = due.filter((kept) => all.has(kept));
    if (standing.length > 0) listeners.onDue(standing);
    alarm.at(Math.min(renewals.nextMs, ends.nextMs));
  };
  return {
    has: (kept) => all.has(kept),
    put,
    remove,
    close() {
      for (const kept of Array.from(all.keys())) remove(kept);
      alarm.cancel();
    },
  };
}

/** Takes off everything up to a time. */
function taken(times: Agenda<KeptGrant>, untilMs: number): KeptGrant[] {
  const items: KeptGrant[] = [];
  for (let next = times.take(untilMs); next !== undefined; next = times.take(untilMs)) {
    items.push(next);
  }
  return items;
}

/** One timer, at the earliest of the times that were asked for since it last rang. */
function earliestAlarm(clock: Clock, ring: () => void) {
  let cancel: CancelTimer = () => {};
  let nextMs = Number.POSITIVE_INFINITY;
  return {
    at(atMs: number): void {
      if (atMs >= nextMs) return;
      cancel();
      nextMs = atMs;
      const rings = (): void => {
        nextMs = Number.POSITIVE_INFINITY;
        ring();
      };
      // Leases alone do not keep a process running; who works under one does.
      cancel = clock.schedule(atMs - clock.monotonicMs(), rings, { keepAlive: false });
    },
    cancel: () => cancel(),
  };
}
