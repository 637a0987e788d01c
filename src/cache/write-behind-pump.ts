import { abortable, abortScope } from '../core/abort.js';
import { type BackoffOptions, backoffMs } from '../core/backoff.js';
import type { Clock } from '../core/clock.js';
import { deferred } from '../core/deferred.js';
import { closedError } from '../core/errors.js';
import type { Random } from '../core/random.js';
import type { Cache, CacheWriteOptions } from './cache.js';
import { cacheWriteBehind } from './diagnostics.js';
import { handOut, type Isolated } from './isolation.js';
import type { WriteBatch, WriteBehindOptions, WriteBehindStats } from './policy-behind.js';
import { type WriteQueue, writeQueue } from './write-behind-queue.js';

/** Options of a write-behind, checked and completed. */
export interface PumpOptions<Key, Value>
  extends Pick<WriteBehindOptions<Value, Key>, 'write' | 'onLost'> {
  readonly cacheName: string;
  readonly pendingMax: number;
  readonly batchMax: number;
  readonly flushMs: number;
  readonly writeTimeoutMs: number;
  readonly onFull: 'wait' | 'refuse';
  readonly retry: BackoffOptions & { readonly attemptsMax: number };
  readonly clock: Clock;
  readonly random: Random;
}

/** A value that waits, and with what it was cached. */
export interface Queued {
  readonly local: Isolated;
  readonly options: CacheWriteOptions | undefined;
}

/** Brings queued writes to their source. */
export interface WritePump<Key, Value> {
  readonly queue: WriteQueue<Key, Queued>;
  readonly isClosed: boolean;
  put(key: Key, queued: Queued | undefined): { readonly undo: () => void };
  /** Resolves when there may be room, or the pump was closed. */
  changed(): Promise<void>;
  flush(signal: AbortSignal | undefined): Promise<void>;
  stats(): WriteBehindStats;
  /** What the source may not have. */
  close(drainMs: number): Promise<WriteBatch<Value, Key>>;
}

/** The cache is told of what was written, or lost, within this time. */
const TELL_MS = 2_000;

type Taken<Key> = ReturnType<WriteQueue<Key, Queued>['take']>;

export function writePump<Key, Value>(
  cache: Cache<Value, Key>,
  options: PumpOptions<Key, Value>,
): WritePump<Key, Value> {
  const { write, onLost, batchMax, flushMs, retry, clock, random, cacheName } = options;
  const queue = writeQueue<Key, Queued>(options.pendingMax);
  const counts = { writtenCount: 0, batchCount: 0, failureCount: 0, lostCount: 0 };
  const ending = new AbortController();
  let change = deferred<void>();
  let skip = (): void => {};
  let isRunning = false;
  /** It waits for more to write, and not for a source that failed. */
  let isGathering = false;
  let isHurried = false;
  let closing: Promise<WriteBatch<Value, Key>> | undefined;

  const notify = (): void => {
    const { resolve } = change;
    change = deferred();
    resolve();
  };
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const cancel = clock.schedule(ms, () => resolve());
      skip = () => {
        cancel();
        resolve();
      };
    });
  const { valuesOf, recache, lose } = aftermath(cache, queue, { onLost, cacheName, counts });
  /** One attempt at the next batch; the number of failures in a row so far. */
  const attempt = async (failures: number): Promise<number> => {
    const batch = queue.take(batchMax);
    counts.batchCount += 1;
    const parents = [ending.signal];
    using scope = abortScope({ clock, parents, timeoutMs: options.writeTimeoutMs });
    try {
      await abortable(
        (async () => write(valuesOf(batch), { signal: scope.signal }))(),
        ending.signal,
      );
    } catch (error) {
      if (ending.signal.aborted) return failures;
      return failed(batch, error, failures + 1);
    }
    queue.done();
    counts.writtenCount += batch.length;
    await recache(batch, true);
    return 0;
  };
  const failed = async (batch: Taken<Key>, error: unknown, failures: number): Promise<number> => {
    counts.failureCount += 1;
    const told = { cache: cacheName, state: 'failed', count: batch.length, error } as const;
    cacheWriteBehind.publish(() => told);
    if (failures >= retry.attemptsMax) {
      queue.done();
      await lose(batch, error);
      return 0;
    }
    queue.failed();
    await pause(backoffMs(failures - 1, retry, random));
    return failures;
  };
  const run = async (): Promise<void> => {
    let failures = 0;
    while (queue.count > 0 && !ending.signal.aborted) {
      const isDue = isHurried || failures > 0 || queue.count >= batchMax;
      isGathering = !isDue;
      if (!isDue) await pause(flushMs);
      isGathering = false;
      if (ending.signal.aborted) break;
      failures = await attempt(failures);
      if (queue.count === 0) isHurried = closing !== undefined;
      notify();
    }
  };
  const start = (): void => {
    if (isRunning && isGathering && queue.count >= batchMax) skip();
    if (isRunning) return;
    isRunning = true;
    run()
      .catch(() => {})
      .finally(() => {
        isRunning = false;
        if (queue.count > 0 && !ending.signal.aborted) start();
        notify();
      });
  };
  const hurry = (): void => {
    isHurried = true;
    skip();
    if (queue.count > 0) start();
  };
  const drain = async (drainMs: number): Promise<WriteBatch<Value, Key>> => {
    hurry();
    notify();
    const sinceMs = clock.monotonicMs();
    using scope = abortScope({ clock, timeoutMs: drainMs });
    while (isRunning || queue.count > 0) {
      if (clock.monotonicMs() - sinceMs >= drainMs) break;
      await abortable(change.promise, scope.signal).catch(() => {});
    }
    const error = closedError(`the write-behind of cache ${cacheName}`);
    ending.abort(error);
    skip();
    return lose(queue.drain(), error);
  };
  return {
    queue,
    get isClosed() {
      return closing !== undefined;
    },
    put(key, queued) {
      const put = queue.put(key, queued, clock.monotonicMs());
      start();
      return put;
    },
    changed: () => change.promise,
    async flush(signal) {
      const { last } = queue;
      while (queue.hasUpTo(last)) {
        hurry();
        await abortable(change.promise, signal);
        if (ending.signal.aborted) throw ending.signal.reason;
      }
    },
    stats() {
      const { oldestMs, coalescedCount, count: pendingCount } = queue;
      const oldestPendingMs = oldestMs === undefined ? undefined : clock.monotonicMs() - oldestMs;
      return { pendingCount, oldestPendingMs, coalescedCount, ...counts };
    },
    close(drainMs) {
      closing ??= Promise.resolve().then(() => drain(drainMs));
      return closing;
    },
  };
}

interface Told<Key, Value> extends Pick<PumpOptions<Key, Value>, 'onLost' | 'cacheName'> {
  readonly counts: { lostCount: number };
}

/** What is done with a batch that was written, or lost. */
function aftermath<Key, Value>(
  cache: Cache<Value, Key>,
  queue: WriteQueue<Key, Queued>,
  { onLost, cacheName, counts }: Told<Key, Value>,
) {
  const valuesOf = (batch: Taken<Key>): WriteBatch<Value, Key> =>
    batch.map(([key, queued]) => {
      const value = queued && (handOut(String(key), queued.local) as Value);
      return [key, value] as const;
    });
  /** The cache has what the source has, unless something newer waits. */
  const recache = async (batch: Taken<Key>, isWritten: boolean): Promise<void> => {
    const each = batch.map(async ([key, queued]) => {
      if (queue.get(key) !== undefined) return;
      const value = isWritten ? valuesOf([[key, queued]])[0]?.[1] : undefined;
      const { signal: _, ...rest } = queued?.options ?? {};
      const bounds = { timeoutMs: TELL_MS };
      if (value === undefined) await cache.delete(key, bounds);
      else await cache.set(key, value, { ...rest, ...bounds });
    });
    await Promise.allSettled(each);
  };
  const lose = async (batch: Taken<Key>, error: unknown): Promise<WriteBatch<Value, Key>> => {
    const lost = valuesOf(batch);
    if (lost.length === 0) return lost;
    counts.lostCount += lost.length;
    const told = { cache: cacheName, state: 'lost', count: lost.length, error } as const;
    cacheWriteBehind.publish(() => told);
    try {
      onLost?.(lost, error);
    } catch {
      // The loss was told; what the listener makes of it is its own matter.
    }
    await recache(batch, false);
    return lost;
  };
  return { valuesOf, recache, lose };
}
