import { abortable } from '../../core/abort.js';
import type { CancelTimer } from '../../core/clock.js';
import { type Deferred, deferred } from '../../core/deferred.js';
import { type CoordinationError, closedError } from '../../core/errors.js';
import type { Acknowledgement, CommitRecord } from '../../transaction/decision-log.js';
import { incarnationFencedError, logFullError } from '../../transaction/log-errors.js';
import { ANSWER_LOST, errorOf, NOT_SENT } from './codes.js';
import type { LiveSession } from './live-session.js';
import { encodeHead, type HeadState, isOpen, type KeptRecord, recordBytes } from './log-format.js';
import {
  type Acknowledgements,
  countThatFits,
  covers,
  openCountOf,
  withAcknowledgements,
  withoutExpired,
} from './log-head.js';
import { makeRoom, rewriteSegments } from './log-overflow.js';
import {
  isUnanswered,
  type LogStore,
  nowOf,
  readHead,
  readSegment,
  type StoredHead,
} from './log-store.js';

/** Bounds of a log. */
export interface LogLimits {
  readonly unacknowledgedMax: number;
  readonly recordRetainMs: number;
}

/** A decision on its way into the head. */
interface Pending {
  readonly kept: KeptRecord;
  readonly answer: Deferred<'committed' | 'fenced'>;
  /** Whether a write that carries it may have left. */
  isSent: boolean;
}

/** Overflow znodes that are read to name who keeps the log full. */
const BLOCKERS_READ_MAX = 16;
/** Acknowledgements wait so long for a decision that takes them along. */
const ACKNOWLEDGE_AFTER_MS = 200;

/**
 * The writer of one incarnation's head.
 *
 * One write is in flight at a time, and carries everything that was decided meanwhile. With n of them
 * a recoverer's fence, which raises the version by one, makes true what the *next* one expects, and
 * that write undoes the fence: a fence would have to be n writes in a row, and so would the owner's
 * first step after a lost connection (test/unit/zookeeper/pipeline.test.ts). Measured, that buys
 * nothing: a decision in a shared write costs less than a znode of its own in a pipeline.
 */
export class LogOwner {
  readonly #store: LogStore;
  readonly #incarnation: string;
  readonly #limits: LogLimits;
  readonly #fenced = new AbortController();
  readonly #closed = new AbortController();
  #stored: StoredHead;
  /** False after a write whose answer was lost: then the head is read before the next one. */
  #isCertain = true;
  #queue: Pending[] = [];
  #acknowledgements = new Map<string, Set<string>>();
  #isDue = false;
  #cancelDue: CancelTimer | undefined;
  #writing: Promise<void> | undefined;

  constructor(store: LogStore, incarnation: string, limits: LogLimits, stored: StoredHead) {
    this.#store = store;
    this.#incarnation = incarnation;
    this.#limits = limits;
    this.#stored = stored;
    if (stored.head.fencedAtMs !== undefined) this.#fence();
  }

  /** Aborted when it is known that the incarnation was fenced. */
  get fenced(): AbortSignal {
    return this.#fenced.signal;
  }

  /** Records a decision. Not for a fenced owner. */
  async decide(record: CommitRecord, signal?: AbortSignal): Promise<'committed' | 'fenced'> {
    const { transactionId } = record;
    if (await this.#isRecorded(transactionId)) return 'committed';
    const decidedAtMs = Math.round(await nowOf(this.#store, signal));
    await this.#assertRoom(signal);
    if (this.#closed.signal.aborted) throw closedError('the transaction log');
    const isThis = ({ kept }: Pending): boolean => kept.record.transactionId === transactionId;
    const pending = this.#queue.find(isThis) ?? this.#enqueue(record, decidedAtMs);
    this.#run();
    try {
      return await abortable(pending.answer.promise, signal);
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) throw error;
      throw this.#giveUp(pending, error);
    }
  }

  /** Takes acknowledgements along with the next write, which comes soon. */
  acknowledge(acknowledgements: readonly Acknowledgement[]): void {
    for (const { transactionId, participant } of acknowledgements) {
      const participants = this.#acknowledgements.get(transactionId) ?? new Set();
      this.#acknowledgements.set(transactionId, participants.add(participant));
    }
    this.#flushLater();
  }

  /** Writes what is only remembered here; resolves when that was tried. */
  async flush(): Promise<void> {
    this.#isDue = true;
    this.#run();
    await this.#writing;
  }

  /** Looks whether a recoverer has fenced the incarnation, after a hint of it. */
  async look(): Promise<void> {
    this.#isCertain = false;
    await this.flush();
  }

  /** Writes what is left, and refuses the rest. */
  async close(signal: AbortSignal): Promise<void> {
    this.#cancelDue?.();
    if (this.#acknowledgements.size > 0 && !this.fenced.aborted) {
      await abortable(this.flush(), signal).catch(() => {});
    }
    const error = closedError('the transaction log');
    this.#closed.abort(error);
    this.#reject(error);
  }

  #flushLater(): void {
    if (this.#acknowledgements.size === 0 || this.#closed.signal.aborted) return;
    const { clock } = this.#store.connection;
    const callback = (): void => void this.flush();
    this.#cancelDue ??= clock.schedule(ACKNOWLEDGE_AFTER_MS, callback, { keepAlive: false });
  }

  async #isRecorded(transactionId: string): Promise<boolean> {
    const { records, segments } = this.#stored.head;
    const isThis = ({ record }: KeptRecord): boolean => record.transactionId === transactionId;
    if (records.some(isThis)) return true;
    for (const segment of segments.filter((each) => covers(each, transactionId))) {
      if ((await readSegment(this.#store, this.#incarnation, segment)).some(isThis)) return true;
    }
    return false;
  }

  #enqueue(record: CommitRecord, decidedAtMs: number): Pending {
    const unacknowledged = [...new Set(record.branches.map(({ participant }) => participant))];
    const kept = { record, decidedAtMs, unacknowledged, memo: {} };
    const pending: Pending = { kept, answer: deferred(), isSent: false };
    this.#queue.push(pending);
    return pending;
  }

  #isFull(): boolean {
    const { unacknowledgedMax } = this.#limits;
    return openCountOf(this.#stored.head) + this.#queue.length >= unacknowledgedMax;
  }

  async #assertRoom(signal: AbortSignal | undefined): Promise<void> {
    if (!this.#isFull()) return;
    // There may be acknowledgements that only wait to be written.
    if (this.#acknowledgements.size > 0) await abortable(this.flush(), signal);
    if (!this.#isFull()) return;
    const open = this.#stored.head.records.filter(isOpen);
    const segments = this.#stored.head.segments.filter(({ openCount }) => openCount > 0);
    for (const segment of segments.slice(0, BLOCKERS_READ_MAX)) {
      const inside = await readSegment(this.#store, this.#incarnation, segment, signal);
      open.push(...inside.filter(isOpen));
    }
    const blocking = open.flatMap((kept) => kept.unacknowledged);
    throw logFullError(this.#incarnation, this.#limits.unacknowledgedMax, blocking);
  }

  /** What to say to a caller whose time is over. */
  #giveUp(pending: Pending, cause: unknown): CoordinationError {
    const isUnsent = !pending.isSent && this.#queue.includes(pending);
    const operation = `record the decision of ${pending.kept.record.transactionId}`;
    const error = errorOf(isUnsent ? NOT_SENT : ANSWER_LOST, operation, { cause });
    if (isUnsent) {
      this.#queue = this.#queue.filter((each) => each !== pending);
      // Somebody else may wait for the same decision.
      pending.answer.reject(error);
    }
    return error;
  }

  #run(): void {
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  async #writeAll(): Promise<void> {
    // What is decided in one tick travels together.
    await Promise.resolve();
    while (!this.#closed.signal.aborted && (this.#queue.length > 0 || this.#isDue)) {
      this.#isDue = false;
      this.#cancelDue?.();
      this.#cancelDue = undefined;
      try {
        if (!this.#isCertain || this.fenced.aborted) await this.#readBack();
        if (!this.fenced.aborted) await this.#write();
      } catch (error) {
        this.#reject(error);
        this.#flushLater();
      }
    }
  }

  /** Finds out what is stored after a write whose answer was lost, or that was refused. */
  async #readBack(): Promise<void> {
    const stored = await readHead(this.#store, this.#incarnation, this.#closed.signal);
    if (stored !== undefined) this.#stored = stored;
    this.#isCertain = true;
    const isOver = stored === undefined || stored.head.fencedAtMs !== undefined;
    for (const pending of [...this.#queue]) {
      if (pending.isSent && (await this.#isRecorded(pending.kept.record.transactionId))) {
        this.#answer([pending], 'committed');
      }
    }
    if (!isOver) return;
    this.#fence();
    // What an unanswered write recorded may have been finished by whoever fenced us, and forgotten
    // since: the coordinator has to hear that there was one, and asks the branches for evidence.
    const doubtful = this.#queue.filter(({ isSent }) => isSent);
    this.#queue = this.#queue.filter((pending) => !doubtful.includes(pending));
    rejectAll(doubtful, incarnationFencedError(this.#incarnation));
    this.#answer(this.#queue, 'fenced');
  }

  async #write(): Promise<void> {
    const { connection } = this.#store;
    const path = this.#store.pathOf(this.#incarnation);
    const live = await connection.current('record a decision', { signal: this.#closed.signal });
    const taken: Acknowledgements = this.#acknowledgements;
    this.#acknowledgements = new Map();
    const base = await this.#tidied(live, taken).catch((error: unknown) => {
      this.#restore(taken);
      throw error;
    });
    const incoming = this.#queue.map(({ kept }) => kept);
    const count = countThatFits(base.head.records, incoming);
    const batch = this.#queue.slice(0, count);
    if (batch.length === 0 && base.head === this.#stored.head) return;
    const records = [...base.head.records, ...incoming.slice(0, count)];
    const writeId = connection.random.token(11);
    const head: HeadState = { ...base.head, records, writeId };
    const firstSent = batch.filter(({ isSent }) => !isSent);
    for (const pending of batch) pending.isSent = true;
    const written = await live.ask.set(path, encodeHead(head), this.#stored.version);
    if (written.ok) {
      const { version, mtime } = written.value;
      connection.noteServerTime(written.value);
      this.#stored = { head, version, writtenAtMs: mtime.getTime() };
      this.#answer(batch, 'committed');
      for (const { name } of base.dropped) void live.ask.remove(`${path}/${name}`);
      return;
    }
    this.#restore(taken);
    const isRaced = written.kind === 'bad-version' || written.kind === 'no-node';
    if (!isRaced && !isUnanswered(written)) throw errorOf(written, 'record a decision');
    // A refused write is certain to have recorded nothing of what it carried for the first time.
    if (isRaced) for (const pending of firstSent) pending.isSent = false;
    this.#isCertain = false;
    this.#isDue = true;
  }

  /** The stored head with acknowledgements, without what has expired, and with room for more. */
  async #tidied(live: LiveSession, taken: Acknowledgements) {
    const { recordRetainMs } = this.#limits;
    const nowMs = await this.#store.connection.serverTimeMs(live);
    const { head: before } = this.#stored;
    const records = withAcknowledgements(before.records, taken, nowMs);
    const noted = records === before.records ? before : { ...before, records };
    const target = { store: this.#store, live, incarnation: this.#incarnation };
    const rewritten = await rewriteSegments(target, noted, taken, nowMs);
    const { head, dropped } = withoutExpired(rewritten, nowMs, recordRetainMs);
    const next = this.#queue[0];
    const roomy = await makeRoom(target, head, next === undefined ? 0 : recordBytes(next.kept));
    return { head: roomy, dropped };
  }

  #restore(taken: Acknowledgements): void {
    for (const [transactionId, participants] of taken) {
      for (const participant of participants) {
        const known = this.#acknowledgements.get(transactionId) ?? new Set();
        this.#acknowledgements.set(transactionId, known.add(participant));
      }
    }
  }

  #answer(answered: readonly Pending[], state: 'committed' | 'fenced'): void {
    const done = new Set(answered);
    this.#queue = this.#queue.filter((pending) => !done.has(pending));
    for (const { answer } of done) answer.resolve(state);
  }

  /** Tells everybody: where nothing left, that nothing was recorded; else that it is unknown. */
  #reject(error: unknown): void {
    const rejected = this.#queue;
    this.#queue = [];
    rejectAll(rejected, error);
  }

  #fence(): void {
    if (!this.fenced.aborted) this.#fenced.abort(incarnationFencedError(this.#incarnation));
  }
}

function rejectAll(rejected: readonly Pending[], cause: unknown): void {
  for (const { answer, isSent, kept } of rejected) {
    const operation = `record the decision of ${kept.record.transactionId}`;
    answer.reject(errorOf(isSent ? ANSWER_LOST : NOT_SENT, operation, { cause }));
  }
}
