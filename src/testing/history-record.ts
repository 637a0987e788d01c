import { closeSync, openSync, writeSync } from 'node:fs';
import { hrtime, pid } from 'node:process';
import type { Clock } from '../core/clock.js';
import { systemRandom } from '../core/random.js';
import { assertNumber } from '../core/validate.js';
import type { LockInspection } from '../lock/driver.js';
import type { Lock } from '../lock/lock.js';
import type { FaultEvent, HistoryEvent, HistoryStamp, OverflowEvent } from './history.js';
import { recordedLock } from './history-lock.js';

/** Options of {@link recordHistory}. */
export interface RecordHistoryOptions {
  /**
   * Appends each event to this file as a line of JSON, before the call goes on, so that what a
   * killed process did is there. Several processes may share one file. Default: keep the events.
   */
  readonly file?: string | undefined;
  /** Names this life of this process. Default the process id and a random part. */
  readonly process?: string | undefined;
  /** The source of stamps in tests on a virtual clock. Default the machine's own monotonic time. */
  readonly clock?: Clock | undefined;
  /** How many events are kept, or written, at most; then one `overflow` follows. Default 5,000,000. */
  readonly eventsMax?: number | undefined;
}

/** Writes down what locks do, for {@link checkHistory}. Made by {@link recordHistory}. */
export interface HistoryRecorder extends Disposable {
  /** This life of this process, as it stands in the events. */
  readonly process: string;
  /** What was recorded, in order; empty when it goes to a file. */
  readonly events: readonly HistoryEvent[];
  /** The present, on the axis of the stamps, in milliseconds. */
  now(): number;
  /**
   * The same lock, whose `acquire`, `tryAcquire` and `withLock` are recorded, with every release and
   * every look at `isHeld` of the leases that come out of it. Look often: what a lease claims to hold
   * while somebody else holds it is what the checker finds.
   */
  lock(lock: Lock): Lock;
  /** Notes a fault that was made on purpose; `at` defaults to the present. */
  fault(
    fault: Omit<FaultEvent, 'event' | 'process' | 'at'> & { readonly at?: number | undefined },
  ): void;
  /** Notes what the backend shows of a resource after all work has ended. */
  quiesce(inspection: LockInspection): void;
  /** Closes the file. Nothing is recorded afterwards. */
  close(): void;
}

const EVENTS_MAX = 5_000_000;

/**
 * Records what is done with locks, as lines that {@link checkHistory} judges.
 *
 * Each operation is stamped before it begins and after it ended, and a lease's `isHeld` is sampled
 * after the stamp: a recorded "held" is a hold at that very moment, also of a process that was
 * stopped between the two. After the histories of Jepsen and of etcd's robustness tests.
 *
 * @throws Error when the file cannot be opened; TypeError (INVALID_ARGUMENT) for a bad bound.
 */
export function recordHistory(options: RecordHistoryOptions = {}): HistoryRecorder {
  const pen = openPen<HistoryEvent>(options);
  const { process: name, now } = pen;
  return {
    process: name,
    events: pen.events,
    now,
    lock: (lock) => recordedLock(lock, pen),
    fault({ at = now(), ...fault }) {
      pen.write({ event: 'fault', at, process: name, ...fault });
    },
    quiesce({ resource, holders, waiters }) {
      const owners = (parties: LockInspection['holders']) => parties.map(({ owner }) => owner);
      const shown = { resource, holders: owners(holders), waiters: owners(waiters) };
      pen.write({ event: 'quiesce', at: now(), process: name, ...shown });
    },
    close: pen.close,
    [Symbol.dispose]: pen.close,
  };
}

/** What recorders of any kind write with. */
export interface Pen<Event> {
  readonly process: string;
  readonly events: readonly Event[];
  now(): number;
  nextOperation(): string;
  write(event: Event): void;
  close(): void;
}

export function openPen<Event extends HistoryStamp>(options: RecordHistoryOptions): Pen<Event> {
  const { file, clock, eventsMax = EVENTS_MAX } = options;
  assertNumber('eventsMax', eventsMax, { min: 1, integer: true });
  const name = options.process ?? `${pid}-${systemRandom.token(6)}`;
  const now = clock === undefined ? machineMs : () => clock.monotonicMs();
  const sink = openSink<Event>(file, eventsMax, () => ({ at: now(), process: name }));
  let operations = 0;
  const nextOperation = (): string => {
    operations += 1;
    return operations.toString(36);
  };
  return { ...sink, process: name, now, nextOperation };
}

/**
 * The system's monotonic clock: one axis for all processes of this machine, which `Clock` does not
 * promise, and which a wall clock that is set back does not disturb.
 */
const machineMs = (): number => Number(hrtime.bigint()) / 1e6;

interface Sink<Event> {
  readonly events: readonly Event[];
  write(event: Event): void;
  close(): void;
}

function openSink<Event extends HistoryStamp>(
  file: string | undefined,
  eventsMax: number,
  stamp: () => { readonly at: number; readonly process: string },
): Sink<Event> {
  const events: Event[] = [];
  // O_APPEND: lines of several processes come one after another.
  let descriptor = file === undefined ? undefined : openSync(file, 'a');
  let isOpen = true;
  let count = 0;
  const keep = (event: HistoryStamp): void => {
    if (descriptor === undefined) events.push(event as Event);
    else writeSync(descriptor, `${JSON.stringify(event)}\n`);
  };
  return {
    events,
    write(event) {
      if (!isOpen || count > eventsMax) return;
      count += 1;
      if (count <= eventsMax) keep(event);
      else keep({ event: 'overflow', ...stamp() } satisfies OverflowEvent as HistoryStamp);
    },
    close() {
      isOpen = false;
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
    },
  };
}
