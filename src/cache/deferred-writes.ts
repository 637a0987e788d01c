import type { Clock } from '../core/clock.js';

/** An invalidation that did not reach the shared tier, to be sent again. */
export interface DeferredWrite {
  /** Undefined: it concerns every key. */
  readonly key: string | undefined;
  /** Sends it; rejects when it was not acknowledged. May be sent twice. */
  send(timeoutMs: number): Promise<void>;
}

/** Invalidations that wait for the shared tier, and the keys that must not be read there meanwhile. */
export interface DeferredWrites {
  /** How many wait. */
  readonly count: number;
  /** Whether a key must not be asked for, nor filled. */
  blocks(key: string): boolean;
  /** Takes one in, in place of an earlier one of its key; false: there is no room. */
  add(write: DeferredWrite): boolean;
  /** Tries once more what is left if it is given a time; answers how many were not acknowledged. */
  end(timeoutMs: number | undefined): Promise<number>;
}

/** How invalidations are deferred. */
export interface DeferralParts {
  readonly clock: Clock;
  readonly keysMax: number;
  /** How long one may wait for its answer, in milliseconds. */
  readonly timeoutMs: number;
  /** Called when so many that had waited were acknowledged, and none is left. */
  readonly onReplayed: (count: number) => void;
}

/** Between two attempts to reach the tier, in milliseconds. */
const RETRY_MS = 250;
/** So many are sent at once. */
const AT_ONCE_MAX = 32;
/** Of those that concern every key. */
const SWEEPS_MAX = 1_000;

interface Self extends DeferralParts {
  /** In the order in which they came, by key; those that concern every key by a number. */
  readonly waiting: Map<string | number, DeferredWrite>;
  sweepCount: number;
  lastSweep: number;
  replayedCount: number;
  isEnded: boolean;
  isBusy: boolean;
  cancel: () => void;
}

/**
 * An empty queue. While there is something in it, it tries again every quarter of a second. A key is
 * released when its last invalidation was acknowledged: it has also ended the leases that others have
 * taken meanwhile.
 */
export function deferredWrites(parts: DeferralParts): DeferredWrites {
  const counts = { sweepCount: 0, lastSweep: 0, replayedCount: 0 };
  const state = { isEnded: false, isBusy: false, cancel: () => {} };
  const self: Self = { ...parts, ...counts, ...state, waiting: new Map() };
  return {
    get count() {
      return self.waiting.size;
    },
    blocks: (key) => self.sweepCount > 0 || self.waiting.has(key),
    add: (write) => add(self, write),
    async end(timeoutMs) {
      self.isEnded = true;
      self.cancel();
      if (timeoutMs !== undefined) await sendAll(self, timeoutMs);
      return self.waiting.size;
    },
  };
}

function add(self: Self, write: DeferredWrite): boolean {
  const { waiting, keysMax } = self;
  const { key } = write;
  if (self.isEnded) return false;
  if (key === undefined) {
    if (self.sweepCount >= SWEEPS_MAX) return false;
    self.sweepCount += 1;
    self.lastSweep += 1;
    waiting.set(self.lastSweep, write);
  } else {
    if (waiting.size - self.sweepCount >= keysMax && !waiting.has(key)) return false;
    waiting.set(key, write);
  }
  retryLater(self);
  return true;
}

function retryLater(self: Self): void {
  if (self.isBusy || self.isEnded) return;
  self.isBusy = true;
  const retry = async (): Promise<void> => {
    await sendAll(self, self.timeoutMs);
    self.isBusy = false;
    if (self.waiting.size > 0) retryLater(self);
  };
  self.cancel = self.clock.schedule(RETRY_MS, () => void retry(), { keepAlive: false });
}

/** Sends what waits, until one is not acknowledged. Never rejects. */
async function sendAll(self: Self, timeoutMs: number): Promise<void> {
  const { waiting } = self;
  // One alone at first: while the tier is away the others need not be sent after it.
  for (let atOnce = 1; waiting.size > 0; atOnce = AT_ONCE_MAX) {
    const some = Array.from(waiting).slice(0, atOnce);
    const sent = some.map(([place, write]) => send(self, place, write, timeoutMs));
    if ((await Promise.all(sent)).includes(false)) return;
  }
  const { replayedCount } = self;
  self.replayedCount = 0;
  if (replayedCount > 0) self.onReplayed(replayedCount);
}

async function send(
  self: Self,
  place: string | number,
  write: DeferredWrite,
  timeoutMs: number,
): Promise<boolean> {
  const { waiting } = self;
  try {
    await write.send(timeoutMs);
  } catch {
    return false;
  }
  self.replayedCount += 1;
  // Another one may have come for the key, after this one was sent.
  if (waiting.get(place) !== write) return true;
  waiting.delete(place);
  if (typeof place === 'number') self.sweepCount -= 1;
  return true;
}
