import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  createLock,
  type Lock,
  type LockBackend,
  type LockDriver,
  type LockOptions,
  seededRandom,
} from 'tricord';
import { memoryLock } from 'tricord/memory';
import { type VirtualClock, virtualClock } from 'tricord/testing';

/** A memory driver on a virtual clock, whose calls a test may answer itself. */
export interface Bench {
  readonly clock: VirtualClock;
  readonly driver: LockDriver;
  /** Replaces calls of every backend that is opened; each gets the real one. */
  readonly faults: { [Call in keyof LockBackend]?: Wrap<Required<LockBackend>[Call]> };
  /** How often each call reached the backend. */
  readonly calls: Record<keyof LockBackend, number>;
  lock(options?: Partial<LockOptions>): Lock;
}

type Wrap<Call extends (...args: never[]) => unknown> = (
  real: Call,
  ...args: Parameters<Call>
) => ReturnType<Call>;

export function bench(): Bench {
  const clock = virtualClock();
  const memory = memoryLock({ clock });
  const faults: Bench['faults'] = {};
  const calls = {} as Bench['calls'];
  const driver: LockDriver = {
    backend: 'memory',
    open(node) {
      const real = memory.open(node);
      return new Proxy(real, {
        get(target, name: keyof LockBackend) {
          const method = target[name];
          if (method === undefined) return undefined;
          return (...args: never[]) => {
            calls[name] = (calls[name] ?? 0) + 1;
            const call = method.bind(target) as (...args: never[]) => unknown;
            const fault = faults[name] as ((...args: unknown[]) => unknown) | undefined;
            return fault === undefined ? call(...args) : fault(call, ...args);
          };
        },
      });
    },
  };
  let nodes = 0;
  const lock = (options?: Partial<LockOptions>): Lock => {
    nodes += 1;
    const random = seededRandom(nodes);
    return createLock({ driver, clock, random, nodeId: `node-${nodes}`, ...options });
  };
  return { clock, driver, faults, calls, lock };
}

/** A promise that never settles: a server that is frozen. */
export const never = (): Promise<never> => new Promise(() => {});

/** Whether a promise has settled by now. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const mark = (): void => {
    settled = true;
  };
  promise.then(mark, mark);
  await nextTurn();
  return settled;
}
