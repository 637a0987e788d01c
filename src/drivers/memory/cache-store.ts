import type { LocalStore, LocalValue } from '../../cache/driver.js';
import { type Clock, instantOf, remainingMs, type Validity } from '../../core/clock.js';
import { type SieveNode, sieve } from './cache-sieve.js';
import { fillTickets } from './cache-tickets.js';

/** Entries of one cache name in this process. */
export interface MemoryStore extends LocalStore {
  /** Keeps a value without a ticket. */
  write(key: string, value: LocalValue, validity: Validity): void;
  /** A live value with what is left of its time, in milliseconds. */
  find(key: string): { readonly value: LocalValue; readonly remainingMs: number } | undefined;
}

interface StoredEntry extends SieveNode {
  local: LocalValue;
  /**
   * The end of the time in which it is as good as new; whichever comes first: the monotonic clock
   * stands still while a machine is suspended.
   */
  endMonotonicMs: number;
  endWallMs: number;
  /** How long it lasts beyond that. */
  extraMs: number;
}

/**
 * A store of at most `entriesMax` entries; SIEVE decides who goes. An entry whose time has ended is
 * never answered, and its place is taken back when it is asked for or when the hand comes by.
 */
export function memoryStore(
  clock: Clock,
  entriesMax: number,
  onEvicted: (key: string) => void = () => {},
): MemoryStore {
  const entries = new Map<string, StoredEntry>();
  const line = sieve<StoredEntry>();
  const tickets = fillTickets();
  const isOver = endsOn(clock);
  let evictionCount = 0;

  const drop = (entry: StoredEntry): void => {
    entries.delete(entry.key);
    line.remove(entry);
  };
  const fresh = (key: string): StoredEntry | undefined => {
    const entry = entries.get(key);
    if (entry === undefined) return undefined;
    entry.isVisited = true;
    if (!isOver(entry)) return entry;
    if (leftMs(clock, entry) <= 0) drop(entry);
    return undefined;
  };
  const makeRoom = (): void => {
    const victim = line.victim();
    if (victim === undefined) return;
    drop(victim);
    if (leftMs(clock, victim) <= 0) return;
    evictionCount += 1;
    onEvicted(victim.key);
  };
  const write = (key: string, local: LocalValue, validity: Validity): void => {
    const present = entries.get(key);
    if (present !== undefined) {
      Object.assign(present, endsOf(local, validity), { local, isVisited: true });
      return;
    }
    if (entries.size >= entriesMax) makeRoom();
    const entry = { key, local, ...endsOf(local, validity), ...UNLINKED };
    entries.set(key, entry);
    line.add(entry);
  };

  return {
    write,
    get entryCount() {
      return entries.size;
    },
    get evictionCount() {
      return evictionCount;
    },
    get: (key) => fresh(key)?.local,
    find(key) {
      const entry = fresh(key) ?? entries.get(key);
      return entry && { value: entry.local, remainingMs: leftMs(clock, entry) };
    },
    begin: tickets.begin,
    put(ticket, value, validity) {
      // The time may have ended on the way.
      if (ticket.isVoid || remainingMs(clock, validity) <= 0) return 'refused';
      write(ticket.key, value, validity);
      return 'stored';
    },
    end: tickets.end,
    delete(key) {
      tickets.void(key);
      const entry = entries.get(key);
      if (entry !== undefined) drop(entry);
    },
    clear() {
      tickets.voidAll();
      entries.clear();
      line.clear();
    },
  };
}

const UNLINKED = { newer: undefined, older: undefined, isVisited: false };

function endsOf({ aging }: LocalValue, { since, forMs }: Validity) {
  const extraMs = aging === undefined ? 0 : aging.graceMs + aging.earlyMs;
  const freshMs = forMs - extraMs;
  return {
    endMonotonicMs: since.monotonicMs + freshMs,
    endWallMs: since.wallMs + freshMs,
    extraMs,
  };
}

/** Whether an entry is not as good as new any more, by either clock, as of this millisecond. */
function endsOn(clock: Clock): (entry: StoredEntry) => boolean {
  let seenWallMs = Number.NaN;
  let seenMonotonicMs = 0;
  return (entry) => {
    // A clock costs as much as all the rest of a hit: the second one is read once a millisecond.
    const wallMs = clock.wallMs();
    if (wallMs !== seenWallMs) {
      seenWallMs = wallMs;
      seenMonotonicMs = clock.monotonicMs();
    }
    return wallMs >= entry.endWallMs || seenMonotonicMs >= entry.endMonotonicMs;
  };
}

/** What is left until the very end. */
function leftMs(clock: Clock, { endMonotonicMs, endWallMs, extraMs }: StoredEntry): number {
  const { monotonicMs, wallMs } = instantOf(clock);
  return Math.min(endMonotonicMs - monotonicMs, endWallMs - wallMs) + extraMs;
}
