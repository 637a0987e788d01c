import { paddedFencingToken, parseFencingToken } from '../../core/fencing-token.js';
import { assertNumber, assertResourceId, invalidArgument } from '../../core/validate.js';
import { branchEndedError } from '../../transaction/branch-errors.js';
import { assertNotStale } from './fence-script.js';
import { conditionFailed } from './participant-errors.js';
import type { ParticipantStore } from './participant-store.js';

/** What a branch will do to one key, as it stands in Redis: format 1, only ever added to. */
export interface Intent {
  readonly key: string;
  /** Alone (`x`), together with others that only look (`s`), or with others that only add (`a`). */
  readonly mode: 'x' | 's' | 'a';
  readonly op?: 'set' | 'delete' | 'add' | 'fence' | undefined;
  readonly value?: string | undefined;
  readonly by?: number | undefined;
  readonly min?: number | undefined;
  readonly expect?: 'absent' | 'value' | undefined;
  readonly seen?: string | undefined;
  /** Of a fence: what its token is about. */
  readonly resource?: string | undefined;
}

/** A bound that a sum must keep. */
export interface RedisIncrementBounds {
  /** The sum must not be lower when the branch takes something off: a whole number. */
  readonly min?: number | undefined;
}

/**
 * What the body of a transaction works with in a Redis participant: ordinary string keys of the
 * service's own Redis. Keys are non-empty strings of at most 1,024 bytes, 1,000 of them a branch;
 * values are texts of at most 1 MiB. On a cluster all keys have the participant's hash tag, else
 * INVALID_ARGUMENT. Every method rejects with BRANCH_ENDED after the transaction.
 *
 * Writes and conditions are kept in this process until prepare, which checks and locks them in one
 * script. Where a condition is not met by then, the branch votes no.
 */
export interface RedisBranch {
  /**
   * The text under a key as this branch sees it, undefined where there is none. Prepare votes no if
   * the committed one is another by then. Rejects with CONDITION_FAILED for what is not a string.
   */
  get(key: string): Promise<string | undefined>;
  /** Sets a key, which then has no time to live. */
  set(key: string, value: string): Promise<void>;
  /** Removes a key. */
  delete(key: string): Promise<void>;
  /**
   * Demands that the committed text under a key is `value` at prepare, or that there is none for
   * undefined, and that it stays so until the transaction's end. Sends nothing. Rejects with
   * CONDITION_FAILED when the branch has already seen another.
   */
  expect(key: string, value: string | undefined): Promise<void>;
  /**
   * Adds a whole number to another (an absent key counts as 0, and may be 0 afterwards) and answers the sum as it would be
   * now. Rejects with CONDITION_FAILED when the sum would fall below `min`; prepare checks it again.
   *
   * Commutes with increments of other transactions: many prepared branches may hold one key. What a
   * branch takes off leaves the number at prepare and returns at abort; what it adds arrives at
   * commit. So the number never falls below `min`, however the others end (escrow, O'Neil 1986).
   */
  increment(key: string, by?: number, bounds?: RedisIncrementBounds): Promise<number>;
  /**
   * Takes `quantity` off a stock that never becomes negative, and answers what is left:
   * `increment(key, -quantity, { min: 0 })`.
   */
  reserve(key: string, quantity: number): Promise<number>;
  /**
   * Commits only if no newer fencing token was seen for this resource, and remembers this one with
   * the commit: `lease.fencingToken`, or its decimal text. It is the fence of `redisFence` with the
   * participant's namespace, and shared with it. Rejects with FENCE_STALE when a newer token is there
   * already; prepare checks again, and votes no. Until the transaction's end another branch that
   * fences the same resource votes no. On a cluster the resource has the participant's hash tag.
   */
  fence(resource: string, token: bigint | string): Promise<void>;
}

/** What a branch has read and wants to write. */
export interface RedisWork {
  readonly handle: RedisBranch;
  intents(): readonly Intent[];
  /** No more work from now on. */
  end(): void;
}

type Write =
  | { readonly op: 'set'; readonly value: string }
  | { readonly op: 'delete' }
  | { readonly op: 'fence'; readonly value: string; readonly resource: string }
  | { readonly op: 'add'; readonly by: number; readonly min?: number | undefined };

interface Plan {
  readonly seen?: { readonly value: string | undefined } | undefined;
  readonly write?: Write | undefined;
}

const KEYS_MAX = 1_000;
const VALUE_BYTES_MAX = 1_048_576;
const WHOLE = /^-?\d{1,16}$/;

/** What a branch plans to do, key by key. */
interface Plans {
  /** The plan for a key; throws for a key that the branch cannot have, or after its end. */
  open(key: string): Plan;
  /** What is committed under a key now. */
  look(key: string): Promise<string | undefined>;
  set(key: string, plan: Plan): void;
  intents(): readonly Intent[];
  end(): void;
}

function branchPlans(
  store: ParticipantStore,
  name: string,
  signal: AbortSignal | undefined,
): Plans {
  const plans = new Map<string, Plan>();
  let isEnded = false;
  const open = (key: string): Plan => {
    if (isEnded) throw branchEndedError(name);
    const known = plans.get(key);
    if (known !== undefined) return known;
    assertResourceId(key, 'key');
    store.assertSlot(key);
    if (plans.size >= KEYS_MAX) {
      throw invalidArgument('key', key, `at most ${KEYS_MAX} different keys to one branch`);
    }
    return {};
  };
  return {
    open,
    look: (key) => store.look(key, signal),
    set: (key, plan) => void plans.set(key, plan),
    intents: () => Array.from(plans, ([key, plan]) => intentOf(key, plan)),
    end() {
      isEnded = true;
    },
  };
}

/** The work of one branch of the participant `name`. */
export function redisWork(
  store: ParticipantStore,
  name: string,
  signal: AbortSignal | undefined,
): RedisWork {
  const plans = branchPlans(store, name, signal);
  const { open, look } = plans;
  const handle: RedisBranch = {
    async get(key) {
      const { seen, write } = open(key);
      if (write?.op === 'set') return write.value;
      if (write?.op === 'delete') return undefined;
      const found = seen ?? { value: await look(key) };
      // Work beside this call may have planned something; the first look counts.
      const plan = open(key);
      const first = plan.seen ?? found;
      plans.set(key, { ...plan, seen: first });
      if (plan.write?.op !== 'add') return first.value;
      return String(wholeOf(name, key, first.value) + plan.write.by);
    },
    async set(key, value) {
      const plan = open(key);
      assertValue(value);
      plans.set(key, { ...plan, write: { op: 'set', value } });
    },
    async delete(key) {
      plans.set(key, { ...open(key), write: { op: 'delete' } });
    },
    async expect(key, value) {
      const plan = open(key);
      if (value !== undefined) assertValue(value);
      if (plan.seen !== undefined && plan.seen.value !== value) {
        throw conditionFailed(name, key, 'its value is not the expected one');
      }
      plans.set(key, { ...plan, seen: { value } });
    },
    async increment(key, by = 1, { min } = {}) {
      assertWhole('by', by);
      if (min !== undefined) assertWhole('min', min);
      const committed = isReplaced(open(key)) ? undefined : await look(key);
      const { write, ...plan } = open(key);
      if (write !== undefined && write.op !== 'add') {
        const value = write.op === 'set' ? write.value : undefined;
        const sum = sumOf(name, key, value, { by, min });
        plans.set(key, { ...plan, write: { op: 'set', value: String(sum) } });
        return sum;
      }
      const total = added(write, by, min);
      const sum = sumOf(name, key, committed, total);
      plans.set(key, { ...plan, write: { op: 'add', ...total } });
      return sum;
    },
    async fence(resource, token) {
      assertResourceId(resource, 'resource');
      const given = parseFencingToken(token);
      const key = store.fenceKey(resource);
      open(key);
      assertNotStale(resource, given, await look(key));
      const plan = open(key);
      const planned = plan.write?.op === 'fence' ? plan.write.value : '';
      const padded = paddedFencingToken(given);
      const value = [planned, padded].toSorted().at(-1) ?? padded;
      plans.set(key, { ...plan, write: { op: 'fence', value, resource } });
    },
    async reserve(key, quantity) {
      assertNumber('quantity', quantity, { min: 0, integer: true });
      return handle.increment(key, -quantity, { min: 0 });
    },
  };
  return { handle, intents: plans.intents, end: plans.end };
}

/** Whether the committed value no longer matters to what the branch sees. */
function isReplaced({ write }: Plan): boolean {
  return write !== undefined && write.op !== 'add';
}

function intentOf(key: string, { seen, write }: Plan): Intent {
  const isAdd = write?.op === 'add' && seen === undefined;
  const mode = write === undefined ? 's' : isAdd ? 'a' : 'x';
  const expect = seen === undefined ? {} : expectation(seen.value);
  return { key, mode, ...write, ...expect };
}

function expectation(value: string | undefined): Pick<Intent, 'expect' | 'seen'> {
  return value === undefined ? { expect: 'absent' } : { expect: 'value', seen: value };
}

/** Two increments of one branch are one; the higher floor counts. */
function added(
  before: { readonly by: number; readonly min?: number | undefined } | undefined,
  by: number,
  min: number | undefined,
): { readonly by: number; readonly min?: number | undefined } {
  const floors = [before?.min, min].filter((each) => each !== undefined);
  const total = (before?.by ?? 0) + by;
  return floors.length === 0 ? { by: total } : { by: total, min: Math.max(...floors) };
}

function sumOf(
  name: string,
  key: string,
  value: string | undefined,
  { by, min }: { readonly by: number; readonly min?: number | undefined },
): number {
  const before = wholeOf(name, key, value);
  const sum = before + by;
  if (!Number.isSafeInteger(sum)) {
    throw conditionFailed(name, key, 'the sum would not be a safe integer');
  }
  if (by < 0 && min !== undefined && sum < min) {
    const reason = `${before} is available, ${-by} would fall below ${min}`;
    throw conditionFailed(name, key, reason);
  }
  return sum;
}

function wholeOf(name: string, key: string, value: string | undefined): number {
  if (value === undefined) return 0;
  if (!WHOLE.test(value)) throw conditionFailed(name, key, 'it is not a whole number');
  return Number(value);
}

function assertWhole(argument: string, value: unknown): asserts value is number {
  assertNumber(argument, value, { min: -Number.MAX_SAFE_INTEGER, integer: true });
}

function assertValue(value: unknown): asserts value is string {
  const isText = typeof value === 'string' && Buffer.from(value).toString() === value;
  if (isText && Buffer.byteLength(value) <= VALUE_BYTES_MAX) return;
  throw invalidArgument('value', value, `well-formed text of at most ${VALUE_BYTES_MAX} bytes`);
}
