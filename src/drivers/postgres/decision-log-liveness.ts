import type { CancelTimer } from '../../core/clock.js';
import { CoordinationError } from '../../core/errors.js';
import type { DecisionLogNode } from '../../transaction/decision-log.js';
import type { LogStore } from './decision-log-store.js';

/** Keeps the incarnations of one session live, and tells when one of them was fenced. */
export interface Liveness {
  /** Starts the heartbeats of an incarnation that is registered. */
  keep(incarnation: string): void;
  /** Notes a fence that was learned of otherwise. */
  fenced(incarnation: string): void;
  signal(incarnation: string): AbortSignal;
  close(): void;
}

/** So many heartbeats fit into the time after which an incarnation counts as silent. */
const BEATS_PER_TIMEOUT = 4;

/** The liveness of one session. */
export function liveness(
  store: LogStore,
  { clock }: DecisionLogNode,
  livenessTimeoutMs: number,
): Liveness {
  const controllers = new Map<string, AbortController>();
  const timers = new Map<string, CancelTimer>();
  let isClosed = false;
  const controllerOf = (incarnation: string): AbortController => {
    const controller = controllers.get(incarnation) ?? new AbortController();
    controllers.set(incarnation, controller);
    return controller;
  };
  const fenced = (incarnation: string): void => {
    timers.get(incarnation)?.();
    timers.delete(incarnation);
    const controller = controllerOf(incarnation);
    if (!controller.signal.aborted) controller.abort(fencedError(incarnation));
  };
  const beat = async (incarnation: string): Promise<void> => {
    try {
      const results = await store.once(store.statements.heartbeat(incarnation));
      if (results.at(-1)?.rows.length === 0) return fenced(incarnation);
    } catch {
      // The next beat tells; whoever took us for silent meanwhile has fenced us first.
    }
    schedule(incarnation);
  };
  const schedule = (incarnation: string): void => {
    if (isClosed || controllerOf(incarnation).signal.aborted) return;
    const delayMs = livenessTimeoutMs / BEATS_PER_TIMEOUT;
    const onTime = (): void => void beat(incarnation);
    timers.set(incarnation, clock.schedule(delayMs, onTime, { keepAlive: false }));
  };
  return {
    keep(incarnation) {
      if (!timers.has(incarnation)) schedule(incarnation);
    },
    fenced,
    signal: (incarnation) => controllerOf(incarnation).signal,
    close() {
      isClosed = true;
      for (const cancel of timers.values()) cancel();
      timers.clear();
    },
  };
}

/** The error of whoever decides in the name of a fenced incarnation. */
export function fencedError(incarnation: string): CoordinationError<'INCARNATION_FENCED'> {
  return new CoordinationError(
    'INCARNATION_FENCED',
    `incarnation ${incarnation} was fenced by another node, which took it for dead; its undecided ` +
      'transactions are aborted',
    { incarnation },
  );
}
