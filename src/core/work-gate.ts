import { type Clock, systemClock } from './clock.js';
import { type Deferred, deferred } from './deferred.js';
import { closedError } from './errors.js';

/** Counts work in flight, refuses new work once closed, and waits for the rest. */
export interface WorkGate {
  readonly isClosed: boolean;
  /** Throws CLOSED once closed; otherwise counts one piece of work until the function is called. */
  enter(): () => void;
  /** The same for hot paths: `begin` counts one piece of work, `end` takes one back. */
  begin(): void;
  end(): void;
  /** Runs an operation as one piece of work. */
  run<T>(operation: () => Promise<T>): Promise<T>;
  /** Refuses new work from now on; resolves when none is in flight, or after `drainMs`. */
  close(drainMs: number): Promise<'drained' | 'timed-out'>;
}

/** A gate for the thing called `what` in its CLOSED error. */
export function workGate(what: string, clock: Clock = systemClock): WorkGate {
  let inFlight = 0;
  let idle: Deferred<'drained'> | undefined;
  const begin = (): void => {
    if (gate.isClosed) throw closedError(what);
    inFlight += 1;
  };
  const end = (): void => {
    inFlight -= 1;
    if (inFlight === 0) idle?.resolve('drained');
  };
  const enter = (): (() => void) => {
    begin();
    let left = false;
    return () => {
      if (left) return;
      left = true;
      end();
    };
  };
  // A plain property: a hit of a cache is so quick that a getter would show.
  const gate: WorkGate & { isClosed: boolean } = {
    isClosed: false,
    begin,
    end,
    enter,
    run(operation) {
      try {
        begin();
      } catch (error) {
        return Promise.reject(error);
      }
      const working = started(operation);
      working.then(end, end);
      return working;
    },
    async close(drainMs) {
      gate.isClosed = true;
      if (inFlight === 0) return 'drained';
      idle ??= deferred();
      let cancel = (): void => {};
      const timedOut = new Promise<'timed-out'>((resolve) => {
        cancel = clock.schedule(drainMs, () => resolve('timed-out'));
      });
      const ending = await Promise.race([idle.promise, timedOut]);
      cancel();
      return ending;
    },
  };
  return gate;
}

/** What the operation throws at once is a rejection, too. */
function started<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return operation();
  } catch (error) {
    return Promise.reject(error);
  }
}
