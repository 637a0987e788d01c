import { onAbort } from '../core/abort.js';
import type { AcquireEvent, AcquireOutcome, HistoryEvent } from './history.js';

/** What the recorded objects write with. */
export interface HistoryPen {
  /** This life of this process. */
  readonly process: string;
  now(): number;
  write(event: HistoryEvent): void;
  nextOperation(): string;
}

/** What every kind of lease has; a recorder does not ask for more. */
export interface AnyLease {
  readonly resource: string;
  readonly fencingToken?: bigint | undefined;
  readonly signal: AbortSignal;
  readonly isHeld: boolean;
  assertHeld(): void;
  release(): Promise<'released' | 'lost'>;
  extend(ttlMs?: number): Promise<void>;
  downgrade?(): Promise<AnyLease>;
}

/** One request for one resource, from its beginning to the end of its lease. */
export interface RecordedOperation {
  readonly operation: string;
  /** The request has ended without a lease. */
  ended(outcome: AcquireOutcome, error?: unknown): void;
  /** There is a lease: writes it down, and everything that is seen of it from now on. */
  granted(lease: AnyLease): void;
  /** Somebody looked: `sample` is called after the stamp. */
  check(sample: () => boolean): boolean;
  /**
   * The lease's release begins: call it before anything is released, and the function that it answers
   * with what the release answers. Written down once.
   */
  release(sample: () => boolean): (answer: Promise<unknown>) => Promise<unknown>;
  /** Makes a reader of a writer's lease, from beginning to end. */
  downgrade(lease: AnyLease): Promise<AnyLease>;
  extend(lease: AnyLease, ttlMs: number | undefined): Promise<void>;
}

/** How a request was made: its `acquire` event without what the pen knows. */
export type Request = Omit<AcquireEvent, 'event' | 'at' | 'process' | 'operation'>;

/** Writes down that a request begins. */
export function beginOperation(
  pen: HistoryPen,
  request: Request,
  at: number = pen.now(),
): RecordedOperation {
  const operation = pen.nextOperation();
  const stamp = () => ({ at: pen.now(), process: pen.process });
  let isEnding = false;
  pen.write({ event: 'acquire', at, process: pen.process, operation, ...request });
  const self: RecordedOperation = {
    operation,
    ended(outcome, error) {
      const reason = error === undefined ? {} : { error: nameOf(error) };
      pen.write({ event: 'acquired', ...stamp(), operation, outcome, ...reason });
    },
    granted(lease) {
      const stamped = stamp();
      const { isHeld } = lease;
      const token = lease.fencingToken?.toString();
      const outcome = 'granted';
      pen.write({ event: 'acquired', ...stamped, operation, outcome, token, isHeld });
      onAbort(lease.signal, () => {
        const reason = nameOf(lease.signal.reason);
        if (!isEnding) pen.write({ event: 'lost', ...stamp(), operation, reason });
      });
    },
    check(sample) {
      const stamped = stamp();
      const isHeld = sample();
      pen.write({ event: 'check', ...stamped, operation, isHeld });
      return isHeld;
    },
    release(sample) {
      if (isEnding) return (answer) => answer;
      pen.write({ event: 'release', ...stamp(), operation, isHeld: sample() });
      isEnding = true;
      return async (answer) => {
        let outcome: unknown;
        try {
          outcome = await answer;
          return outcome;
        } finally {
          pen.write({ event: 'released', ...stamp(), operation, outcome: releaseOutcome(outcome) });
        }
      };
    },
    extend(lease, ttlMs) {
      pen.write({ event: 'extend', ...stamp(), operation, ttlMs });
      return lease.extend(ttlMs);
    },
    async downgrade(lease) {
      const stamped = stamp();
      pen.write({ event: 'downgrade', ...stamped, operation, isHeld: lease.isHeld });
      // The reader takes what it has already, and stands in no line for it.
      const asked = { ...request, mode: 'shared', waits: false } as const;
      const reading = beginOperation(pen, asked, stamped.at);
      try {
        const shared = await (lease.downgrade as () => Promise<AnyLease>)();
        isEnding = true;
        pen.write({ event: 'downgraded', ...stamp(), operation, outcome: 'downgraded' });
        reading.granted(shared);
        return recordedLease(shared, reading);
      } catch (error) {
        pen.write({ event: 'downgraded', ...stamp(), operation, outcome: 'failed' });
        reading.ended('refused', error);
        throw error;
      }
    },
  };
  return self;
}

/** The lease that stands behind a recorded one, for `within`. */
const RAW = new WeakMap<object, AnyLease>();

/** What was recorded of, or the object itself. */
export const rawLease = <T>(lease: T): T =>
  (RAW.get(lease as unknown as object) as T | undefined) ?? lease;

/** The same lease, whose looks and endings are written down. */
export function recordedLease<T extends AnyLease>(lease: T, operation: RecordedOperation): T {
  const release = () => {
    const ended = operation.release(() => lease.isHeld);
    return ended(lease.release());
  };
  const recorded = new Proxy(lease, {
    get(target, property) {
      switch (property) {
        case 'isHeld':
          return operation.check(() => target.isHeld);
        case 'assertHeld':
          return () => assertRecorded(target, operation);
        case 'release':
          return release;
        case Symbol.asyncDispose:
          return async () => void (await release());
        case 'extend':
          return (ttlMs?: number) => operation.extend(target, ttlMs);
        case 'downgrade':
          return () => operation.downgrade(target);
      }
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  RAW.set(recorded, lease);
  return recorded;
}

function assertRecorded(lease: AnyLease, operation: RecordedOperation): void {
  let failure: unknown;
  const isHeld = operation.check(() => {
    try {
      lease.assertHeld();
      return true;
    } catch (error) {
      failure = error;
      return false;
    }
  });
  if (!isHeld) throw failure;
}

const releaseOutcome = (outcome: unknown): 'released' | 'lost' | 'failed' =>
  outcome === 'released' || outcome === 'lost' ? outcome : 'failed';

/** The code of an error, or its name. */
function nameOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { readonly code?: unknown; readonly name?: unknown };
  return String(code ?? name ?? error);
}
