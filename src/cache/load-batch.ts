import { onAbort } from '../core/abort.js';
import { deferred } from '../core/deferred.js';
import { invalidArgument } from '../core/validate.js';
import type { LoadContext, LoadManyContext, ManyLoader } from './cache.js';

/** The loads of one `getOrLoadMany`, which its keys ask for one by one. */
export interface LoadBatch {
  /** The loader of each key. */
  load(context: LoadContext): Promise<unknown>;
  /** A key is answered, or waits for somebody else's load: the others need not wait for it. */
  pass(key: string): void;
}

interface Wanted {
  readonly context: LoadContext;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Calls the loader once it is known of every key whether it has to be loaded, with those that have to
 * be. Keys that come later, because a write overtook their load, go together in another call.
 */
export function loadBatch(keys: readonly string[], loadMany: ManyLoader<unknown>): LoadBatch {
  const undecided = new Set(keys);
  let wanted = new Map<string, Wanted>();
  let isDue = false;

  const flush = async (): Promise<void> => {
    isDue = false;
    const batch = wanted;
    wanted = new Map();
    try {
      const found = await loadMany(
        keys.filter((key) => batch.has(key)),
        contextOf(batch),
      );
      const values = valuesOf(found);
      for (const [key, { resolve }] of batch) resolve(values.get(key));
    } catch (error) {
      for (const { reject } of batch.values()) reject(error);
    }
  };
  const decide = (key: string): void => {
    undecided.delete(key);
    if (isDue || undecided.size > 0 || wanted.size === 0) return;
    isDue = true;
    // What the same turn still decides goes along.
    process.nextTick(() => void flush());
  };
  return {
    load(context) {
      const { promise, resolve, reject } = deferred<unknown>();
      wanted.set(context.key, { context, resolve, reject });
      decide(context.key);
      return promise;
    },
    pass: decide,
  };
}

function contextOf(batch: ReadonlyMap<string, Wanted>): LoadManyContext {
  const ending = new AbortController();
  let runningCount = batch.size;
  for (const { context } of batch.values()) {
    onAbort(context.signal, () => {
      runningCount -= 1;
      if (runningCount === 0) ending.abort(context.signal.reason);
    });
  }
  return {
    signal: ending.signal,
    of(key) {
      const one = batch.get(key);
      if (one === undefined) throw invalidArgument('key', key, 'one of the keys of this load');
      return one.context;
    },
  };
}

function valuesOf(found: unknown): ReadonlyMap<unknown, unknown> {
  const isIterable = typeof found === 'object' && found !== null && Symbol.iterator in found;
  if (!isIterable) {
    throw invalidArgument(
      'loadMany()',
      found,
      'a loader that answers a Map, or pairs of key and value',
    );
  }
  return found instanceof Map ? found : new Map(found as Iterable<[unknown, unknown]>);
}
