import { backoffMs } from '../core/backoff.js';
import type { CancelTimer, Clock } from '../core/clock.js';
import { parseTransactionId } from '../core/ids.js';
import type { Random } from '../core/random.js';
import type { Acknowledgement } from './decision-log.js';

/** Collects acknowledgements and writes them a little later, many in one step of the store. */
export interface LogAcknowledger {
  /** Resolves when they are queued; when the queue is long, after it was written. */
  add(acknowledgements: readonly Acknowledgement[]): Promise<void>;
  /** Writes what waits. Never rejects: what could not be written stays queued. */
  flush(): Promise<void>;
  /** Writes nothing any more. */
  close(): void;
}

/** The store's single step: some acknowledgements of one incarnation's records. */
export type WriteAcknowledgements = (
  incarnation: string,
  part: readonly Acknowledgement[],
) => Promise<void>;

/** How long an acknowledgement waits for company. */
const DELAY_MS = 25;
const RETRY_BACKOFF = { baseMs: 100, maxMs: 2_000 };
const PART_MAX = 500;
/** From here on callers wait for the write. */
const QUEUE_SOFT_MAX = 5_000;
/** From here on acknowledgements are forgotten, which costs a repeated commit each. */
const QUEUE_MAX = 100_000;

/** The acknowledger of one session. */
export function logAcknowledger(options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly write: WriteAcknowledgements;
}): LogAcknowledger {
  const { clock, random, write } = options;
  let queue: Acknowledgement[] = [];
  let cancelTimer: CancelTimer | undefined;
  let flushing: Promise<void> | undefined;
  let failures = 0;
  let isClosed = false;

  const writeAll = async (batch: readonly Acknowledgement[]): Promise<void> => {
    const parts = partsOf(batch);
    const results = await Promise.allSettled(parts.map((each) => write(...each)));
    const unwritten = parts.filter((_, index) => results[index]?.status === 'rejected');
    failures = unwritten.length === 0 ? 0 : failures + 1;
    // Writing one twice is harmless, so a lost reply is simply sent again.
    queue = [...unwritten.flatMap(([, part]) => part), ...queue].slice(0, QUEUE_MAX);
  };
  const schedule = (): void => {
    if (isClosed || queue.length === 0 || cancelTimer !== undefined) return;
    const delayMs = failures === 0 ? DELAY_MS : backoffMs(failures, RETRY_BACKOFF, random);
    const onTime = (): void => {
      cancelTimer = undefined;
      void flush();
    };
    cancelTimer = clock.schedule(delayMs, onTime, { keepAlive: false });
  };
  const flush = (): Promise<void> => {
    flushing ??= (async () => {
      const batch = queue;
      queue = [];
      await writeAll(batch);
      flushing = undefined;
      schedule();
    })();
    return flushing;
  };
  return {
    async add(acknowledgements) {
      if (queue.length < QUEUE_MAX) queue.push(...acknowledgements);
      schedule();
      if (queue.length > QUEUE_SOFT_MAX) await flush();
    },
    flush,
    close() {
      isClosed = true;
      cancelTimer?.();
    },
  };
}

/** Acknowledgements by the incarnation whose records they are about. */
export function byIncarnation(
  acknowledgements: readonly Acknowledgement[],
): ReadonlyMap<string, readonly Acknowledgement[]> {
  const groups = new Map<string, Acknowledgement[]>();
  for (const each of acknowledgements) {
    const incarnation = parseTransactionId(each.transactionId)?.incarnation;
    if (incarnation === undefined) continue;
    const group = groups.get(incarnation);
    if (group === undefined) groups.set(incarnation, [each]);
    else group.push(each);
  }
  return groups;
}

function partsOf(
  batch: readonly Acknowledgement[],
): readonly (readonly [incarnation: string, part: readonly Acknowledgement[]])[] {
  return Array.from(byIncarnation(batch)).flatMap(([incarnation, all]) =>
    Array.from({ length: Math.ceil(all.length / PART_MAX) }, (_, part) => {
      return [incarnation, all.slice(part * PART_MAX, (part + 1) * PART_MAX)] as const;
    }),
  );
}
