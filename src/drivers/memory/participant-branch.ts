import { CoordinationError } from '../../core/errors.js';
import { assertNumber, assertResourceId, invalidArgument } from '../../core/validate.js';
import { branchEndedError } from '../../transaction/branch-errors.js';
import type { IncrementBounds, Intent, KeyValueStore } from './participant-store.js';

/**
 * What the body of a transaction works with in a memory participant. Keys are non-empty strings of
 * at most 1,024 bytes; values are copied in and out (`structuredClone`). Every method rejects with
 * BRANCH_ENDED after the transaction.
 */
export interface MemoryBranch {
  /** The value of a key as this branch sees it. Prepare votes no if it has changed by then. */
  get<Value = unknown>(key: string): Promise<Value | undefined>;
  /** Sets a key. */
  set(key: string, value: unknown): Promise<void>;
  /** Sets a key that must not be there. Rejects with CONDITION_FAILED where it is. */
  insert(key: string, value: unknown): Promise<void>;
  /** Removes a key; answers whether it was there. */
  delete(key: string): Promise<boolean>;
  /**
   * Adds to a number (an absent key counts as 0) and answers the sum. Rejects with CONDITION_FAILED
   * when the sum would leave the bounds, counting what other prepared branches may still take.
   * Commutes with increments of other transactions.
   */
  increment(key: string, by?: number, bounds?: IncrementBounds): Promise<number>;
  /** Takes `quantity` off a number that must not become negative; answers what is left. */
  reserve(key: string, quantity: number): Promise<number>;
}

/** What a branch has read and wants to write. */
export interface MemoryWork {
  readonly handle: MemoryBranch;
  readonly intents: ReadonlyMap<string, Intent>;
  /** No more work from now on. */
  end(): void;
}

/** The work of one branch of the participant `name`. */
export function memoryWork(store: KeyValueStore, name: string): MemoryWork {
  const intents = new Map<string, Intent>();
  let ended = false;

  const open = (key: string): Intent => {
    if (ended) throw branchEndedError(name);
    assertResourceId(key, 'key');
    return intents.get(key) ?? {};
  };
  const look = (key: string): { readonly intent: Intent; readonly value: unknown } => {
    const before = open(key);
    // The first look counts: prepare compares with it, so a change between two looks is found.
    const intent = { ...before, seenVersion: before.seenVersion ?? store.version(key) };
    intents.set(key, intent);
    return { intent, value: seenBy(intent, store.read(key)) };
  };
  const put = (key: string, write: Intent['write'], seen?: Intent): void => {
    const { seenVersion } = seen ?? open(key);
    intents.set(key, { write, seenVersion });
  };
  const add = (key: string, by: number, { min, max }: IncrementBounds = {}): number => {
    const intent = open(key);
    assertNumber('by', by, { min: -Number.MAX_SAFE_INTEGER });
    if (intent.write !== undefined && intent.write.kind !== 'add') {
      const sum = numberAt(name, key, intent.write.kind === 'set' ? intent.write.value : 0) + by;
      assertBounds(name, key, sum, { min, max });
      put(key, { kind: 'set', value: sum });
      return sum;
    }
    const before = intent.write ?? { kind: 'add', by: 0 };
    const write = {
      kind: 'add' as const,
      by: before.by + by,
      min: Math.max(before.min ?? Number.NEGATIVE_INFINITY, min ?? Number.NEGATIVE_INFINITY),
      max: Math.min(before.max ?? Number.POSITIVE_INFINITY, max ?? Number.POSITIVE_INFINITY),
    };
    const refusal = store.refusalOf(key, write);
    if (refusal !== undefined) throw conditionFailed(name, key, refusal);
    put(key, write);
    return numberAt(name, key, store.read(key)) + write.by;
  };
  const handle: MemoryBranch = {
    get: async (key) => structuredClone(look(key).value) as never,
    set: async (key, value) => put(key, { kind: 'set', value: cloned(value) }),
    async insert(key, value) {
      const { intent, value: found } = look(key);
      if (found !== undefined) throw conditionFailed(name, key, 'it is there already');
      put(key, { kind: 'set', value: cloned(value) }, intent);
    },
    async delete(key) {
      const { intent, value } = look(key);
      put(key, { kind: 'delete' }, intent);
      return value !== undefined;
    },
    increment: async (key, by = 1, bounds) => add(key, by, bounds),
    async reserve(key, quantity) {
      assertNumber('quantity', quantity, { min: 0 });
      return add(key, -quantity, { min: 0 });
    },
  };
  return {
    handle,
    intents,
    end() {
      ended = true;
    },
  };
}

/** A key's value as a branch sees it, given the committed one. */
function seenBy({ write }: Intent, committed: unknown): unknown {
  switch (write?.kind) {
    case undefined:
      return committed;
    case 'set':
      return write.value;
    case 'delete':
      return undefined;
    case 'add':
      return (typeof committed === 'number' ? committed : 0) + write.by;
  }
}

function numberAt(name: string, key: string, value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value !== 'number') throw conditionFailed(name, key, 'it is not a number');
  return value;
}

function assertBounds(name: string, key: string, sum: number, { min, max }: IncrementBounds): void {
  if (min !== undefined && sum < min) {
    throw conditionFailed(name, key, `${sum} is below the bound of ${min}`);
  }
  if (max !== undefined && sum > max) {
    throw conditionFailed(name, key, `${sum} is above the bound of ${max}`);
  }
}

function cloned(value: unknown): unknown {
  if (value === undefined) throw invalidArgument('value', value, 'a value, or call delete');
  return structuredClone(value);
}

function conditionFailed(
  participant: string,
  key: string,
  reason: string,
): CoordinationError<'CONDITION_FAILED'> {
  return new CoordinationError(
    'CONDITION_FAILED',
    `participant "${participant}" refused "${key}": ${reason}`,
    { participant, key, reason },
  );
}
