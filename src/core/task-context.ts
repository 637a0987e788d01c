import { promiseHooks } from 'node:v8';

/** What a task is inside of, with all that it awaits and all that it begins by promises. */
export interface TaskContext<Value> {
  /** Runs `work`, and what comes of it, inside of the value. */
  run<T>(value: Value, work: () => T): T;
  /** The innermost value that the current task is inside of. */
  readonly value: Value | undefined;
  /** Forgets; the process's promises cost no more than before. */
  dispose(): void;
}

/** One value on the way from the current task outwards. */
interface Around {
  readonly context: object;
  readonly value: unknown;
  readonly outer: Around | undefined;
}

/** Where a promise keeps what it was made inside of. */
const AROUND = Symbol('tricord.around');
type Marked = Promise<unknown> & { [AROUND]?: Around | undefined };

let current: Around | undefined;
let stop: (() => void) | undefined;
const inUse = new Set<object>();

/**
 * A context that follows promises alone: callbacks of timers and emitters are outside of it, what
 * awaits them is not.
 *
 * Why not AsyncLocalStorage: up to Node 22 it gives an id and a place in a tree of resources to every
 * promise of the process, which costs a transaction of two branches a quarter of all its own time.
 * Whoever uses one beside this pays as before.
 */
export function taskContext<Value>(): TaskContext<Value> {
  const context: TaskContext<Value> = {
    run(value, work) {
      inUse.add(context);
      stop ??= follow();
      const outer = current;
      current = { context, value, outer };
      try {
        return work();
      } finally {
        current = outer;
      }
    },
    get value() {
      for (let each = current; each !== undefined; each = each.outer) {
        if (each.context === context) return each.value as Value;
      }
      return undefined;
    },
    dispose() {
      inUse.delete(context);
      if (inUse.size > 0) return;
      stop?.();
      stop = undefined;
    },
  };
  return context;
}

function follow(): () => void {
  const init = (promise: Promise<unknown>): void => {
    if (current !== undefined) (promise as Marked)[AROUND] = current;
  };
  const before = (promise: Promise<unknown>): void => {
    current = (promise as Marked)[AROUND];
  };
  const after = (): void => {
    current = undefined;
  };
  const stopFollowing = promiseHooks.createHook({ init, before, after }) as () => void;
  return () => {
    stopFollowing();
    current = undefined;
  };
}
