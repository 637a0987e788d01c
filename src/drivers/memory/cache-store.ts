import type { LocalStore, LocalValue } from '../../cache/driver.js';
import { type Clock, instantOf, remainingMs, type Validity } from '../../core/clock.js';
import { coarseEndCheck } from '../../core/coarse-clock.js';
import { grown, type S3Fifo, s3Fifo } from './cache-s3-fifo.js';
import { type KnownTags, knownTags } from './cache-tags.js';
import { fillTickets } from './cache-tickets.js';
import { weightOf } from './cache-weight.js';

/** Entries of one cache name in this process. */
export interface MemoryStore extends LocalStore {
  readonly tags: KnownTags;
  /** Keeps a value without a ticket. */
  write(key: string, value: LocalValue, validity: Validity): void;
  /** A live value with what is left of its time, in milliseconds. */
  find(key: string): { readonly value: LocalValue; readonly remainingMs: number } | undefined;
}

/** How much a store keeps at most. */
export interface MemoryBounds {
  readonly entriesMax: number;
  /** Undefined: entries are not weighed. */
  readonly bytesMax?: number | undefined;
  /** Called with the key of each live entry that has gone for others. */
  readonly onEvicted?: ((key: string) => void) | undefined;
}

/**
 * A store of bounded size; S3-FIFO decides who goes. An entry whose time has ended is never answered,
 * and its place is taken back when it is asked for or when its turn to go comes.
 */
export function memoryStore(clock: Clock, bounds: MemoryBounds): MemoryStore {
  const { entriesMax, bytesMax, onEvicted } = bounds;
  const tags = knownTags();
  const tickets = fillTickets(() => tags.moment);
  const isOver = coarseEndCheck(clock);
  let shelf = newShelf();
  let evictionCount = 0;
  let byteCount = 0;

  const leftMs = (slot: number): number => {
    const { monotonicMs, wallMs } = instantOf(clock);
    const monotonic = (shelf.endsMonotonicMs[slot] ?? 0) - monotonicMs;
    const wall = (shelf.endsWallMs[slot] ?? 0) - wallMs;
    return Math.min(monotonic, wall) + extraMsOf(shelf.locals[slot]);
  };
  const weigh = (slot: number, bytes: number): void => {
    if (slot >= shelf.weights.length) shelf.weights = grown(shelf.weights, slot, Float64Array);
    byteCount += bytes - (shelf.weights[slot] ?? 0);
    shelf.weights[slot] = bytes;
  };
  /** Frees a slot that left the order. */
  const free = (slot: number): void => {
    if (bytesMax !== undefined) weigh(slot, 0);
    shelf.slots.delete(shelf.keys[slot] ?? '');
    shelf.keys[slot] = '';
    shelf.locals[slot] = undefined;
    shelf.free.push(slot);
  };
  const drop = (slot: number): void => {
    shelf.order.remove(slot);
    free(slot);
  };
  const evict = (): void => {
    const slot = shelf.order.evict((each) => shelf.keys[each] ?? '');
    if (slot === 0) return;
    const key = shelf.keys[slot] ?? '';
    const isLive = leftMs(slot) > 0;
    free(slot);
    if (!isLive) return;
    evictionCount += 1;
    onEvicted?.(key);
  };
  /** False: not even alone is there room for it. */
  const makeRoom = (key: string, bytes: number, limit: number): boolean => {
    const present = (): number => shelf.slots.get(key) ?? 0;
    if (bytes > limit && present() > 0) drop(present());
    if (bytes > limit) return false;
    // What is replaced may have to go itself.
    while (byteCount + bytes - (shelf.weights[present()] ?? 0) > limit) evict();
    return true;
  };
  const take = (key: string): number => {
    if (shelf.slots.size >= entriesMax) evict();
    const slot = shelf.free.pop() ?? shelf.slots.size + 1;
    reach(shelf, slot);
    shelf.slots.set(key, slot);
    shelf.keys[slot] = key;
    shelf.order.add(slot, key);
    return slot;
  };
  const write = (key: string, local: LocalValue, { since, forMs }: Validity): void => {
    const bytes = bytesMax === undefined ? 0 : weightOf(key, local.value);
    if (bytesMax !== undefined && !makeRoom(key, bytes, bytesMax)) return;
    const present = shelf.slots.get(key);
    const slot = present ?? take(key);
    if (present !== undefined) shelf.order.hit(present);
    if (bytesMax !== undefined) weigh(slot, bytes);
    const freshMs = forMs - extraMsOf(local);
    shelf.locals[slot] = local;
    shelf.endsMonotonicMs[slot] = since.monotonicMs + freshMs;
    shelf.endsWallMs[slot] = since.wallMs + freshMs;
  };

  return {
    write,
    tags,
    get entryCount() {
      return shelf.slots.size;
    },
    get byteCount() {
      return bytesMax === undefined ? undefined : byteCount;
    },
    get evictionCount() {
      return evictionCount;
    },
    get(key) {
      const slot = shelf.slots.get(key);
      if (slot === undefined) return undefined;
      shelf.order.hit(slot);
      const { endsMonotonicMs, endsWallMs } = shelf;
      if (!isOver(endsMonotonicMs[slot] ?? 0, endsWallMs[slot] ?? 0)) {
        const local = shelf.locals[slot];
        // One of its tags has another version now.
        if (local?.tags !== undefined && !tags.areCurrent(local.tags)) return undefined;
        return local;
      }
      if (leftMs(slot) <= 0) drop(slot);
      return undefined;
    },
    find(key) {
      const slot = shelf.slots.get(key);
      if (slot === undefined) return undefined;
      shelf.order.hit(slot);
      const remaining = leftMs(slot);
      const value = shelf.locals[slot];
      if (remaining > 0 && value !== undefined) {
        const isCurrent = value.tags === undefined || tags.areCurrent(value.tags);
        return isCurrent ? { value, remainingMs: remaining } : undefined;
      }
      drop(slot);
      return undefined;
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
      const slot = shelf.slots.get(key);
      if (slot !== undefined) drop(slot);
    },
    clear() {
      tickets.voidAll();
      tags.clear();
      shelf = newShelf();
      byteCount = 0;
    },
  };
}

/**
 * Where the entries stand: a slot, a number from 1, is a place in each of the arrays. Numbers in
 * arrays take 8 bytes and no object of their own, and a hit follows one reference.
 */
interface Shelf {
  readonly slots: Map<string, number>;
  readonly order: S3Fifo;
  readonly keys: string[];
  readonly locals: (LocalValue | undefined)[];
  /** Slots that were taken and are empty. */
  readonly free: number[];
  /**
   * The end of the time in which an entry is as good as new; whichever comes first: the monotonic
   * clock stands still while a machine is suspended.
   */
  endsMonotonicMs: Float64Array;
  endsWallMs: Float64Array;
  /** Only where entries are weighed. */
  weights: Float64Array;
}

const SLOTS_AT_FIRST = 64;

function newShelf(): Shelf {
  const numbers = (): Float64Array => new Float64Array(SLOTS_AT_FIRST);
  const ends = { endsMonotonicMs: numbers(), endsWallMs: numbers() };
  const places = { keys: [''], locals: [undefined], free: [] };
  return { slots: new Map(), order: s3Fifo(), ...places, ...ends, weights: numbers() };
}

/** Makes room for a slot. */
function reach(shelf: Shelf, slot: number): void {
  if (slot < shelf.endsWallMs.length) return;
  shelf.endsMonotonicMs = grown(shelf.endsMonotonicMs, slot, Float64Array);
  shelf.endsWallMs = grown(shelf.endsWallMs, slot, Float64Array);
}

/** How long an entry lasts beyond being as good as new. */
function extraMsOf(local: LocalValue | undefined): number {
  const aging = local?.aging;
  return aging === undefined ? 0 : aging.graceMs + aging.earlyMs;
}
