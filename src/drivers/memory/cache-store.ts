import type { FillTicket, LocalStore, LocalValue } from '../../cache/driver.js';
import { type Clock, instantOf, remainingMs, type Validity } from '../../core/clock.js';
import { type SieveNode, sieve } from './cache-sieve.js';

/** Entries of one cache name in this process. */
export interface MemoryStore extends LocalStore {
  /** Keeps a value without a ticket. */
  write(key: string, value: LocalValue, validity: Validity): void;
  /** A live value with what is left of its time, in milliseconds. */
  find(key: string): { readonly value: LocalValue; readonly remainingMs: number } | undefined;
}

interface StoredEntry extends SieveNode {
  local: LocalValue;
  /** Whichever comes first: the monotonic clock stands still while a machine is suspended. */
  endMonotonicMs: number;
  endWallMs: number;
}

/** Tickets of one key that are out, and how many. */
interface Round extends FillTicket {
  count: number;
}

/**
 * A store of at most `entriesMax` entries; SIEVE decides who goes. An entry whose time has ended is
 * never answered, and its place is taken back when it is asked for or when the hand comes by.
 */
export function memoryStore(clock: Clock, entriesMax: number): MemoryStore {
  const entries = new Map<string, StoredEntry>();
  const line = sieve<StoredEntry>();
  const rounds = new Map<string, Round>();
  let evictionCount = 0;

  const drop = (entry: StoredEntry): void => {
    entries.delete(entry.key);
    line.remove(entry);
  };
  let seenWallMs = Number.NaN;
  let seenMonotonicMs = 0;
  const isOver = (entry: StoredEntry): boolean => {
    // A clock costs as much as all the rest of a hit: the second one is read once a millisecond.
    const wallMs = clock.wallMs();
    if (wallMs !== seenWallMs) {
      seenWallMs = wallMs;
      seenMonotonicMs = clock.monotonicMs();
    }
    return wallMs >= entry.endWallMs || seenMonotonicMs >= entry.endMonotonicMs;
  };
  const live = (key: string): StoredEntry | undefined => {
    const entry = entries.get(key);
    if (entry === undefined) return undefined;
    if (isOver(entry)) {
      drop(entry);
      return undefined;
    }
    entry.isVisited = true;
    return entry;
  };
  const makeRoom = (): void => {
    const victim = line.victim();
    if (victim === undefined) return;
    if (!isOver(victim)) evictionCount += 1;
    drop(victim);
  };
  const write = (key: string, local: LocalValue, { since, forMs }: Validity): void => {
    const endMonotonicMs = since.monotonicMs + forMs;
    const endWallMs = since.wallMs + forMs;
    const present = entries.get(key);
    if (present !== undefined) {
      Object.assign(present, { local, endMonotonicMs, endWallMs, isVisited: true });
      return;
    }
    if (entries.size >= entriesMax) makeRoom();
    const fresh = { newer: undefined, older: undefined, isVisited: false };
    const entry: StoredEntry = { key, local, endMonotonicMs, endWallMs, ...fresh };
    entries.set(key, entry);
    line.add(entry);
  };
  const voidRound = (key: string): void => {
    const round = rounds.get(key);
    if (round === undefined) return;
    round.isVoid = true;
    rounds.delete(key);
  };

  return {
    write,
    get entryCount() {
      return entries.size;
    },
    get evictionCount() {
      return evictionCount;
    },
    get: (key) => live(key)?.local,
    find(key) {
      const entry = live(key);
      if (entry === undefined) return undefined;
      const left = endOf(clock, entry);
      return { value: entry.local, remainingMs: left };
    },
    begin(key) {
      const round = rounds.get(key) ?? { key, isVoid: false, count: 0 };
      round.count += 1;
      rounds.set(key, round);
      return round;
    },
    put(ticket, value, validity) {
      // The time may have ended on the way.
      if (ticket.isVoid || remainingMs(clock, validity) <= 0) return 'refused';
      write(ticket.key, value, validity);
      return 'stored';
    },
    end(ticket) {
      const round = rounds.get(ticket.key);
      if (round !== ticket || round === undefined) return;
      round.count -= 1;
      if (round.count === 0) rounds.delete(ticket.key);
    },
    delete(key) {
      voidRound(key);
      const entry = entries.get(key);
      if (entry !== undefined) drop(entry);
    },
    clear() {
      for (const round of rounds.values()) round.isVoid = true;
      rounds.clear();
      entries.clear();
      line.clear();
    },
  };
}

function endOf(clock: Clock, entry: StoredEntry): number {
  const { monotonicMs, wallMs } = instantOf(clock);
  return Math.min(entry.endMonotonicMs - monotonicMs, entry.endWallMs - wallMs);
}
