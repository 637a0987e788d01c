import { sleep } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { CoordinationError, isCoordinationError } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import type { DecisionLog } from '../decision-log.js';
import { type CallEvent, type CallKey, type CallRecord, callAfter } from './call-record.js';
import type { CallHint, CallSession, StandingCall } from './call-session.js';

/** A session of calls with what one process waits for. */
export interface CallDesk {
  readonly session: CallSession;
  readonly clock: Clock;
  readonly random: Random;
  /** Hears the hints about one call, and what they tell, until the function is called. */
  hear(callId: string, listener: (now: StandingCall | undefined) => void): () => void;
  close(): Promise<void>;
}

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
  const listeners = new Map<string, Set<(now: StandingCall | undefined) => void>>();
  const tell = (callId: string, now?: StandingCall): void => {
    for (const listener of Array.from(listeners.get(callId) ?? [])) listener(now);
  };
  const stop = session.listen(served.services, (hint) => {
    if (hint.type === 'changed') tell(hint.callId, hint.now);
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
