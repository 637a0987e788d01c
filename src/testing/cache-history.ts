import type { FaultEvent, HistoryStamp, OverflowEvent } from './history.js';

/** A writer is about to commit a new version of a key to the source. */
export interface CacheWriteEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'write';
  /** Unique within the process. */
  readonly operation: string;
  /** The cache's key. */
  readonly key: string;
  /** Which version: a whole number that grows with each write of the key. */
  readonly version: number;
}

/** What the cache answered to the invalidation, or the write, that goes with a commit. */
export interface CacheWrittenEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'written';
  /** As in its `write`. */
  readonly operation: string;
  /** `acknowledged` only where the commit succeeded and the cache resolved. */
  readonly outcome: 'acknowledged' | 'failed';
  /** The code or name of the error. */
  readonly error?: string | undefined;
}

/** A read begins. */
export interface CacheReadEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'read';
  /** Unique within the process. */
  readonly operation: string;
  /** The cache's key. */
  readonly key: string;
  /**
   * What was promised: for so many milliseconds after an acknowledgement another process may still be
   * answered an older version.
   */
  readonly stalenessMs: number;
}

/** A read has ended. */
export interface CacheAnswerEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'answer';
  /** As in its `read`. */
  readonly operation: string;
  /** Whether there was a value. */
  readonly outcome: 'value' | 'missing' | 'failed';
  /** The version of the value. */
  readonly version?: number | undefined;
  /** The code or name of the error. */
  readonly error?: string | undefined;
}

/** One line of a cache's history. */
export type CacheHistoryEvent =
  | CacheWriteEvent
  | CacheWrittenEvent
  | CacheReadEvent
  | CacheAnswerEvent
  | FaultEvent
  | OverflowEvent;

/** The sentences that `checkCacheHistory` knows. */
export type CacheHistoryRule =
  /** Every version that was answered was current at some moment within the promised staleness. */
  | 'stale'
  /** A process that had its own write acknowledged is answered nothing older, from then on. */
  | 'own-write'
  /** No read goes back behind what another one was answered before it began; only where asked for. */
  | 'order'
  /** No version is answered before its commit had begun. */
  | 'from-nowhere'
  /** The history itself is whole: nothing ends that did not begin, and nothing is missing. */
  | 'well-formed';

/** A sentence that a history breaks. */
export interface CacheHistoryViolation {
  /** Which sentence. */
  readonly rule: CacheHistoryRule;
  /** What happened, with names and numbers. */
  readonly message: string;
  /** The events that show it. */
  readonly events: readonly CacheHistoryEvent[];
}
