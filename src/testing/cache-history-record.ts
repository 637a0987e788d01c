import type { CacheHistoryEvent } from './cache-history.js';
import type { FaultEvent } from './history.js';
import { openPen, type RecordHistoryOptions } from './history-record.js';

/** Writes down what is read and written through caches. Made by {@link recordCacheHistory}. */
export interface CacheHistoryRecorder extends Disposable {
  /** This life of this process, as it stands in the events. */
  readonly process: string;
  /** What was recorded, in order; empty when it goes to a file. */
  readonly events: readonly CacheHistoryEvent[];
  /** The present, on the axis of the stamps, in milliseconds. */
  now(): number;
  /**
   * Records a read: `call` asks the cache, and `versionOf` tells which version a value is. Settles as
   * the call does.
   */
  read<Value>(
    key: string,
    stalenessMs: number,
    call: () => Promise<Value | undefined>,
    versionOf: (value: Value) => number,
  ): Promise<Value | undefined>;
  /**
   * Records a write: `call` commits the version to the source and invalidates, or writes, the entry.
   * Settles as the call does; a version counts as acknowledged when it resolves.
   */
  write(key: string, version: number, call: () => Promise<void>): Promise<void>;
  /** Notes a fault that was made on purpose; `at` defaults to the present. */
  fault(
    fault: Omit<FaultEvent, 'event' | 'process' | 'at'> & { readonly at?: number | undefined },
  ): void;
  /** Closes the file. Nothing is recorded afterwards. */
  close(): void;
}

/**
 * Records what caches answer and when writes were acknowledged, as lines that
 * {@link checkCacheHistory} judges. Each is stamped before it begins and after it ended, and a line is
 * on its way to the file before the call goes on: what a killed process had begun is there.
 *
 * @throws Error when the file cannot be opened; TypeError (INVALID_ARGUMENT) for a bad bound.
 */
export function recordCacheHistory(options: RecordHistoryOptions = {}): CacheHistoryRecorder {
  const {
    write: put,
    events,
    process,
    now,
    nextOperation,
    close,
  } = openPen<CacheHistoryEvent>(options);
  return {
    process,
    events,
    now,
    async read(key, stalenessMs, call, versionOf) {
      const operation = nextOperation();
      const answer = { event: 'answer', process, operation } as const;
      put({ event: 'read', at: now(), process, operation, key, stalenessMs });
      try {
        const value = await call();
        if (value === undefined) put({ ...answer, at: now(), outcome: 'missing' });
        else put({ ...answer, at: now(), outcome: 'value', version: versionOf(value) });
        return value;
      } catch (error) {
        put({ ...answer, at: now(), outcome: 'failed', error: nameOf(error) });
        throw error;
      }
    },
    async write(key, version, call) {
      const operation = nextOperation();
      const written = { event: 'written', process, operation } as const;
      put({ event: 'write', at: now(), process, operation, key, version });
      try {
        await call();
        put({ ...written, at: now(), outcome: 'acknowledged' });
      } catch (error) {
        put({ ...written, at: now(), outcome: 'failed', error: nameOf(error) });
        throw error;
      }
    },
    fault: ({ at = now(), ...fault }) => put({ event: 'fault', at, process, ...fault }),
    close,
    [Symbol.dispose]: close,
  };
}

function nameOf(error: unknown): string {
  const { code, name } = error as { readonly code?: unknown; readonly name?: unknown };
  return String(code ?? name ?? error);
}
