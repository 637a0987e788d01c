import { type Deferred, deferred } from '../core/deferred.js';
import { CoordinationError } from '../core/errors.js';

/** What goes wrong at a call. */
export const FAULT_KINDS = [
  'crash-before',
  'reply-lost',
  'crash-after',
  'pause-before',
  'pause-after',
] as const;

/** What goes wrong at a call. */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** One call of a process and what goes wrong there. */
export interface Fault {
  readonly step: string;
  readonly kind: FaultKind;
}

/** One process as the explorer lets it live: each of its calls passes here. */
export interface Life {
  /** Its calls, in the order in which they began. */
  readonly steps: readonly string[];
  readonly isDead: () => boolean;
  /** Dead, paused or closed: the others take it for dead, at once. */
  readonly isGone: () => boolean;
  /** Whether it was ever paused. */
  readonly hasSlept: () => boolean;
  /** Resolves when it died or paused. */
  readonly reached: Promise<void>;
  /** The incarnations that it registered. */
  readonly incarnations: Set<string>;
  /** Makes a call. `undo` takes back what a lost reply would have told of. */
  step<T>(
    operation: string,
    call: () => Promise<T>,
    undo?: (result: T) => Promise<unknown>,
  ): Promise<T>;
  /** Ends a pause. */
  wake(): void;
  /** No call arrives any more, and no reply comes back. */
  die(): void;
  /** It ended in peace. */
  leave(): void;
  /** Every call that had arrived has been answered, whether or not somebody hears it. */
  settled(): Promise<void>;
}

const never = <T>(): Promise<T> => new Promise<T>(() => {});

/** A process that meets at most one fault. `trace` is told of each call and fault. */
export function life(name: string, fault: Fault | undefined, trace: (line: string) => void): Life {
  const steps: string[] = [];
  const counts = new Map<string, number>();
  const inFlight = new Set<Promise<unknown>>();
  const reached = deferred<void>();
  let state: 'alive' | 'dead' | 'left' = 'alive';
  let pause: Deferred<void> | undefined;
  let hasSlept = false;

  const numbered = (operation: string): string => {
    const count = (counts.get(operation) ?? 0) + 1;
    counts.set(operation, count);
    return count === 1 ? operation : `${operation}#${count}`;
  };
  const die = (): void => {
    if (state === 'alive') state = 'dead';
    reached.resolve();
  };
  const meet = (kind: FaultKind | undefined, moment: 'before' | 'after'): void => {
    if (kind !== `crash-${moment}` && kind !== `pause-${moment}`) return;
    trace(`${name} ${kind}`);
    if (kind === `crash-${moment}`) {
      die();
      return;
    }
    pause = deferred();
    hasSlept = true;
    reached.resolve();
  };
  /** Nothing passes a dead process; a sleeping one lets it pass when it wakes. */
  const gate = async (): Promise<void> => {
    await pause?.promise;
    if (state === 'dead') await never();
  };
  const tracked = async <T>(call: () => Promise<T>): Promise<T> => {
    const calling = call();
    inFlight.add(calling);
    try {
      return await calling;
    } finally {
      inFlight.delete(calling);
    }
  };
  return {
    steps,
    isDead: () => state === 'dead',
    isGone: () => state !== 'alive' || pause !== undefined,
    hasSlept: () => hasSlept,
    reached: reached.promise,
    incarnations: new Set(),
    async step(operation, call, undo) {
      if (state === 'dead') return never();
      const step = numbered(operation);
      steps.push(step);
      const kind = fault?.step === step ? fault.kind : undefined;
      trace(`${name} ${step}`);
      meet(kind, 'before');
      // What was begun before a fault is on its way already: the call is made in this very turn.
      if (pause !== undefined || kind === 'crash-before') await gate();
      const answer = await Promise.allSettled([tracked(call)]);
      meet(kind, 'after');
      await gate();
      const [result] = answer;
      if (result.status === 'rejected') throw result.reason;
      if (kind !== 'reply-lost') return result.value;
      trace(`${name} reply-lost`);
      await undo?.(result.value);
      throw lost(operation);
    },
    wake() {
      trace(`${name} wakes`);
      pause?.resolve();
      pause = undefined;
    },
    die,
    leave() {
      if (state === 'alive') state = 'left';
    },
    async settled() {
      while (inFlight.size > 0) await Promise.allSettled(inFlight);
    },
  };
}

function lost(operation: string): CoordinationError<'RESULT_UNKNOWN'> {
  return new CoordinationError('RESULT_UNKNOWN', `the explorer lost the reply to ${operation}`, {
    backend: 'explorer',
    operation,
  });
}
