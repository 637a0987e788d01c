import type { QueuedTask, TokenBlock } from './node-grants.js';

/** What happened. Times are monotonic milliseconds. */
export type QueueEvent =
  | { readonly type: 'joined'; readonly task: QueuedTask }
  /** It was given a grant that had ended, and has its old place again. */
  | { readonly type: 'rejoined'; readonly task: QueuedTask }
  | { readonly type: 'left'; readonly task: number }
  | {
      readonly type: 'granted';
      readonly request: number;
      /** A writer's block; of a reader's grant, `first` is the epoch; undefined when counting. */
      readonly tokens: Readonly<TokenBlock> | undefined;
      readonly othersCount: number;
      readonly patienceMs: number;
    }
  | { readonly type: 'busy'; readonly request: number }
  /** `kind`: it concerns only those who want the resource in that way. */
  | {
      readonly type: 'failed';
      readonly request: number;
      readonly error: unknown;
      readonly scope: 'all' | 'kind';
    }
  /** The grant came so late that it had ended before. */
  | { readonly type: 'missed'; readonly request: number }
  | { readonly type: 'finished'; readonly grant: number; readonly task: number }
  | {
      readonly type: 'reserved';
      readonly grant: number;
      readonly tokens: Readonly<TokenBlock> | undefined;
    }
  /** Its writer became a reader. */
  | {
      readonly type: 'downgraded';
      readonly grant: number;
      readonly epoch: bigint;
      readonly sharesTtlMs: number | undefined;
    }
  | { readonly type: 'others'; readonly grant: number; readonly count: number }
  /** A grant was retained for long enough. */
  | { readonly type: 'retained'; readonly grant: number }
  /** The turn of the event loop is over that a `linger` asked to wait for. */
  | { readonly type: 'lingered'; readonly grant: number }
  | { readonly type: 'lost'; readonly grant: number };

/** What is to be done, in this order. */
export type QueueEffect =
  | {
      readonly type: 'ask';
      readonly request: number;
      readonly task: QueuedTask;
      readonly tokens: number;
    }
  | { readonly type: 'give-up'; readonly request: number }
  /** A grant that nobody wants any more. */
  | { readonly type: 'return'; readonly request: number }
  | {
      readonly type: 'start';
      readonly task: number;
      readonly grant: number;
      readonly token: bigint | undefined;
      /** No request of its own won it. */
      readonly isHandedOver: boolean;
    }
  | { readonly type: 'refuse'; readonly task: number }
  | { readonly type: 'fail'; readonly task: number; readonly error: unknown }
  | { readonly type: 'reserve'; readonly grant: number; readonly tokens: number }
  | { readonly type: 'retain'; readonly grant: number; readonly retainMs: number }
  /** Kept until the end of this turn of the event loop; `begins`: that is not waited for yet. */
  | { readonly type: 'linger'; readonly grant: number; readonly begins: boolean }
  | { readonly type: 'release'; readonly grant: number };
