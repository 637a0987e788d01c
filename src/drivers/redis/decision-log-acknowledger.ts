import { backoffMs } from '../../core/backoff.js';
import type { CancelTimer } from '../../core/clock.js';
import { parseTransactionId } from '../../core/ids.js';
import type { Acknowledgement, DecisionLogNode } from '../../transaction/decision-log.js';
import { ACKNOWLEDGE } from './decision-log-scripts.js';
import type { LogStore } from './decision-log-store.js';

/** Collects acknowledgements and writes them a little later, many in one command. */
export interface Acknowledger {
  /** Resolves when they are queued; when the queue is long, after it was written. */
  add(acknowledgements: readonly Acknowledgement[]): Promise<void>;
  /** Writes what waits. Never rejects: what could not be written stays queued. */
  flush(): Promise<void>;
  close(): void;
}

/** How long an acknowledgement waits for company. */
const DELAY_MS = 25;
const RETRY_BACKOFF = { baseMs: 100, maxMs: 2_000 };
const COMMAND_MAX = 500;
/** From here on callers wait for the write. */
const QUEUE_SOFT_MAX = 5_000;
/** From here on acknowledgements are forgotten, which costs a repeated commit each. */
const QUEUE_MAX = 100_000;

/** The acknowledger of one session. */
export function acknowledger(
  store: LogStore,
  { clock, random }: DecisionLogNode,
  recordRetainMs: number,
): Acknowledger {
  let queue: Acknowledgement[] = [];
  let cancelTimer: CancelTimer | undefined;
  let flushing: Promise<void> | undefined;
  let failures = 0;
  let isClosed = false;

  const write = async (incarnation: string, part: readonly Acknowledgement[]): Promise<void> => {
    const pairs = part.flatMap((each) => [each.transactionId, each.participant]);
    await store.once(ACKNOWLEDGE, incarnation, [recordRetainMs, ...pairs]);
  };
  const writeAll = async (batch: readonly Acknowledgement[]): Promise<void> => {
    const parts = [...byIncarnation(batch)].flatMap(([incarnation, all]) =>
      inParts(all).map((part) => [incarnation, part] as const),
    );
    const results = await Promise.allSettled(parts.map((each) => write(...each)));
    const unwritten = parts.filter((_, index) => results[index]?.status === 'rejected');
    failures = unwritten.length === 0 ? 0 : failures + 1;
    // Writing one twice is harmless, so a lost reply is simply sent again.
    queue = [...unwritten.flatMap(([, part]) => part), ...queue].slice(0, QUEUE_MAX);
  };
  const schedule = (): void => {
    if (isClosed || queue.length === 0 || cancelTimer !== undefined) return;
    const delayMs = failures === 0 ? DELAY_MS : backoffMs(failures, RETRY_BACKOFF, random);
    const options = { keepAlive: false };
    cancelTimer = clock.schedule(
      delayMs,
      () => {
        cancelTimer = undefined;
        void flush();
      },
      options,
    );
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

function byIncarnation(
  batch: readonly Acknowledgement[],
): ReadonlyMap<string, readonly Acknowledgement[]> {
  const groups = new Map<string, Acknowledgement[]>();
  for (const each of batch) {
    const incarnation = parseTransactionId(each.transactionId)?.incarnation;
    if (incarnation === undefined) continue;
    const group = groups.get(incarnation);
    if (group === undefined) groups.set(incarnation, [each]);
    else group.push(each);
  }
  return groups;
}

function inParts(all: readonly Acknowledgement[]): readonly (readonly Acknowledgement[])[] {
  const count = Math.ceil(all.length / COMMAND_MAX);
  return Array.from({ length: count }, (_, part) =>
    all.slice(part * COMMAND_MAX, (part + 1) * COMMAND_MAX),
  );
}
