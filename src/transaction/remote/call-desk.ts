import { onAbort, sleep } from '../../core/abort.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import { deferred } from '../../core/deferred.js';
import { CoordinationError, isCoordinationError } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import type { DecisionLog } from '../decision-log.js';
import { type CallEvent, type CallKey, type CallRecord, callAfter } from './call-record.js';
import type { CallHint, CallSession } from './call-session.js';

/** A session of calls with what one process waits for. */
export interface CallDesk {
  readonly session: CallSession;
  readonly clock: Clock;
  readonly random: Random;
  /** Hears the hints about one call until the function is called. */
  hear(callId: string, listener: () => void): () => void;
  close(): Promise<void>;
}

/** A lost hint costs so much, in milliseconds; longer for who has waited longer. */
const POLL_MS_MIN = 250;
const POLL_MS_MAX = 2_000;
const RETRY_MS = 50;

/** Opens the calls of a store. @throws CoordinationError (BACKEND_UNSUPPORTED) */
export function callDesk(
  log: DecisionLog,
  node: {
    readonly nodeId: string;
    readonly namespace: string;
    readonly clock: Clock;
    readonly random: Random;
  },
  served: { readonly services: readonly string[]; readonly heard: (hint: CallHint) => void },
): CallDesk {
  assertCarriesCalls(log);
  const { clock, random } = node;
  const session = log.openCalls(node);
  const listeners = new Map<string, Set<() => void>>();
  const tell = (callId: string): void => {
    for (const listener of Array.from(listeners.get(callId) ?? [])) listener();
  };
  const stop = session.listen(served.services, (hint) => {
    if (hint.type === 'changed') tell(hint.callId);
    if (hint.type === 'missed') for (const callId of Array.from(listeners.keys())) tell(callId);
    served.heard(hint);
  });
  return {
    session,
    clock,
    random,
    hear(callId, listener) {
      const group = listeners.get(callId) ?? new Set();
      listeners.set(callId, group.add(listener));
      return () => {
        group.delete(listener);
        if (group.size === 0 && listeners.get(callId) === group) listeners.delete(callId);
      };
    },
    async close() {
      stop();
      await session.close();
    },
  };
}

type Carrier = DecisionLog & Required<Pick<DecisionLog, 'openCalls'>>;

function assertCarriesCalls(log: DecisionLog): asserts log is Carrier {
  if (typeof log.openCalls === 'function') return;
  const { backend } = log;
  const [setting, found, needed] = ['calls to remote participants', 'none', 'openCalls'] as const;
  throw new CoordinationError(
    'BACKEND_UNSUPPORTED',
    `the ${backend} log cannot carry calls to remote participants; use redisTransactions, ` +
      'zookeeperTransactions or, within one process, memoryTransactions',
    { backend, setting, found, needed },
  );
}

/**
 * Reads a call at every hint, and now and then without one, until it is as wanted. Rejects with the
 * signal's reason alone: a store that does not answer is asked again.
 */
export async function callUntil(
  desk: CallDesk,
  key: CallKey,
  isWanted: (record: CallRecord | undefined) => boolean,
  signal: AbortSignal,
): Promise<CallRecord | undefined> {
  const since = instantOf(desk.clock);
  while (true) {
    signal.throwIfAborted();
    const pollMs = Math.max(POLL_MS_MIN, elapsedMs(desk.clock, since) / 4);
    // Before the read: a change right after it must be heard.
    using next = hintOf(desk, key.callId, Math.min(pollMs, POLL_MS_MAX), signal);
    try {
      const record = await desk.session.read(key, { signal });
      if (isWanted(record)) return record;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!isTransient(error)) throw error;
    }
    await next.heard;
  }
}

interface NextHint extends Disposable {
  /** Resolves at a hint, when time is up, and when the signal aborts. */
  readonly heard: Promise<void>;
}

function hintOf(desk: CallDesk, callId: string, maxMs: number, signal: AbortSignal): NextHint {
  const { promise, resolve } = deferred<void>();
  const cancel = desk.clock.schedule(maxMs, resolve, { keepAlive: false });
  const stops = [cancel, desk.hear(callId, resolve), onAbort(signal, resolve)];
  return {
    heard: promise,
    [Symbol.dispose]() {
      for (const stop of stops) stop();
    },
  };
}

/** What became of a change: whether it was made, now or before, and what stands there. */
export interface CallChange {
  readonly isMade: boolean;
  readonly record: CallRecord | undefined;
}

/**
 * Makes an event happen to a call, by conditional writes, until it has happened or is refused. A
 * lost reply is asked again. `known` saves the first read.
 */
export async function changeCall(
  { session, clock, random }: CallDesk,
  known: CallRecord | CallKey,
  event: CallEvent,
  signal: AbortSignal,
): Promise<CallChange> {
  const writeId = random.token(11);
  let current = 'writeId' in known ? known : undefined;
  let isRead = current !== undefined;
  while (true) {
    signal.throwIfAborted();
    try {
      if (!isRead) current = await session.read(known, { signal });
      isRead = true;
      // The write of an attempt whose reply was lost.
      if (current?.writeId === writeId) return { isMade: true, record: current };
      const changed = current === undefined ? undefined : callAfter(current, event, writeId);
      if (current === undefined || changed === undefined) return { isMade: false, record: current };
      current = await session.replace(changed, current.writeId, { signal });
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!isTransient(error)) throw error;
      isRead = false;
      await sleep(clock, RETRY_MS, { signal, keepAlive: false });
    }
  }
}

/** Whether the same request may be answered the next time. */
export function isTransient(error: unknown): boolean {
  return (
    isCoordinationError(error, 'RESULT_UNKNOWN') ||
    isCoordinationError(error, 'BACKEND_UNAVAILABLE') ||
    isCoordinationError(error, 'SESSION_EXPIRED')
  );
}
