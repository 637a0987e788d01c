import { type Clock, elapsedMs, type Instant, instantOf } from '../../core/clock.js';
import { CoordinationError } from '../../core/errors.js';
import { branchAbortedError } from '../../transaction/branch-errors.js';
import type { BranchOutcome, PreparedBranch, Vote } from '../../transaction/participant.js';

/** Bounds that a sum must keep. */
export interface IncrementBounds {
  /** The sum must not be lower. */
  readonly min?: number | undefined;
  /** The sum must not be higher. */
  readonly max?: number | undefined;
}

/** A write that waits for its commit. */
export type Write =
  | { readonly kind: 'set'; readonly value: unknown }
  | { readonly kind: 'delete' }
  | Increment;

/** A write that commutes with others of its kind. */
export interface Increment extends IncrementBounds {
  readonly kind: 'add';
  readonly by: number;
}

/** What a branch did to one key: looked at it, wrote it, or both. */
export interface Intent {
  readonly write?: Write | undefined;
  /** The version that was committed when the branch looked first. */
  readonly seenVersion?: number | undefined;
}

/** The shared state of one memory participant. Each method is one atomic step. */
export interface KeyValueStore {
  read<Value>(key: string): Value | undefined;
  version(key: string): number;
  entries<Value>(prefix: string): readonly (readonly [string, Value])[];
  load(values: Readonly<Record<string, unknown>>): void;
  /** Why an increment cannot be promised now, or undefined. */
  refusalOf(key: string, add: Increment): string | undefined;
  assertRoom(): void;
  prepare(branchId: string, work: { readonly intents: ReadonlyMap<string, Intent> }): Vote;
  commit(branchId: string): void;
  abort(branchId: string): void;
  prepared(): readonly PreparedBranch[];
  outcome(branchId: string): BranchOutcome;
}

interface Row {
  readonly value: unknown;
  readonly version: number;
}

interface PreparedWork {
  readonly intents: ReadonlyMap<string, Intent>;
  readonly since: Instant;
}

/** Evidence of that many ended branches is kept; older ones are answered 'unknown'. */
const OUTCOMES_MAX = 100_000;

interface StoreState {
  readonly name: string;
  readonly preparedMax: number;
  readonly clock: Clock;
  readonly rows: Map<string, Row>;
  readonly prepared: Map<string, PreparedWork>;
  readonly outcomes: Map<string, 'committed' | 'aborted'>;
  /** By key, what prepared branches hold of it. */
  readonly held: Map<string, Map<string, Intent>>;
  versions: number;
}

/** The state of the memory participant `name`. */
export function keyValueStore(options: {
  readonly name: string;
  readonly preparedMax: number;
  readonly clock: Clock;
}): KeyValueStore {
  const [rows, prepared] = [new Map<string, Row>(), new Map<string, PreparedWork>()];
  const outcomes = new Map<string, 'committed' | 'aborted'>();
  const held = new Map<string, Map<string, Intent>>();
  const state: StoreState = { ...options, rows, prepared, outcomes, held, versions: 0 };
  return {
    read: <Value>(key: string) => structuredClone(rows.get(key)?.value) as Value | undefined,
    version: (key) => versionOf(state, key),
    entries: <Value>(prefix: string) =>
      Array.from(rows)
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, { value }]) => [key, structuredClone(value) as Value] as const),
    load(values) {
      for (const [key, value] of Object.entries(values)) put(state, key, structuredClone(value));
    },
    refusalOf: (key, add) => refusalOf(state, key, add),
    assertRoom() {
      const { name, preparedMax } = options;
      if (prepared.size >= preparedMax) throw participantFull(name, preparedMax);
    },
    prepare: (branchId, { intents }) => prepare(state, branchId, intents),
    commit: (branchId) => commit(state, branchId),
    abort(branchId) {
      if (outcomes.get(branchId) !== 'committed') conclude(state, branchId, 'aborted');
    },
    prepared: () =>
      Array.from(prepared, ([branchId, { since }]) => {
        return { branchId, ageMs: elapsedMs(options.clock, since) };
      }),
    outcome: (branchId) =>
      prepared.has(branchId) ? 'prepared' : (outcomes.get(branchId) ?? 'unknown'),
  };
}

function prepare(state: StoreState, branchId: string, intents: ReadonlyMap<string, Intent>): Vote {
  const { prepared, outcomes, held, clock } = state;
  if (prepared.has(branchId)) return { vote: 'yes', evidence: '' };
  const ended = outcomes.get(branchId);
  if (ended !== undefined) return { vote: 'no', reason: `the branch was ${ended} before` };
  const conflicts = Array.from(intents, ([key, intent]) => conflictOf(state, key, intent));
  const conflict = conflicts.find((each) => each !== undefined);
  if (conflict !== undefined) {
    conclude(state, branchId, 'aborted');
    return { vote: 'no', reason: conflict };
  }
  if (!Array.from(intents.values()).some(({ write }) => write)) return { vote: 'read-only' };
  prepared.set(branchId, { intents: new Map(intents), since: instantOf(clock) });
  for (const [key, intent] of intents) {
    held.set(key, (held.get(key) ?? new Map<string, Intent>()).set(branchId, intent));
  }
  return { vote: 'yes', evidence: '' };
}

function commit(state: StoreState, branchId: string): void {
  const { name, rows, prepared, outcomes } = state;
  const ended = outcomes.get(branchId);
  if (ended === 'committed') return;
  const work = prepared.get(branchId);
  if (work === undefined) throw notPrepared(name, branchId, ended);
  for (const [key, { write }] of work.intents) {
    if (write !== undefined) put(state, key, appliedTo(rows.get(key)?.value, write));
  }
  conclude(state, branchId, 'committed');
}

function conclude(
  { prepared, held, outcomes }: StoreState,
  branchId: string,
  outcome: 'committed' | 'aborted',
): void {
  for (const key of prepared.get(branchId)?.intents.keys() ?? []) {
    const holders = held.get(key);
    holders?.delete(branchId);
    if (holders?.size === 0) held.delete(key);
  }
  prepared.delete(branchId);
  outcomes.set(branchId, outcome);
  const [oldest] = outcomes.keys();
  if (outcomes.size > OUTCOMES_MAX && oldest !== undefined) outcomes.delete(oldest);
}

function put(state: StoreState, key: string, value: unknown): void {
  state.versions += 1;
  if (value === undefined) state.rows.delete(key);
  else state.rows.set(key, { value, version: state.versions });
}

function versionOf({ rows }: StoreState, key: string): number {
  return rows.get(key)?.version ?? 0;
}

/** Why a branch cannot promise what it did to a key, or undefined. */
function conflictOf(state: StoreState, key: string, intent: Intent): string | undefined {
  const { seenVersion, write } = intent;
  if (seenVersion !== undefined && seenVersion !== versionOf(state, key)) {
    return `"${key}" was changed by another transaction`;
  }
  const holders = Array.from(state.held.get(key)?.values() ?? []);
  if (!holders.every((holder) => isCompatible(holder, intent))) {
    return `"${key}" is held by another prepared transaction`;
  }
  const refusal = write?.kind === 'add' ? refusalOf(state, key, write) : undefined;
  return refusal === undefined ? undefined : `"${key}": ${refusal}`;
}

function refusalOf({ rows, held }: StoreState, key: string, add: Increment): string | undefined {
  const value = rows.get(key)?.value ?? 0;
  if (typeof value !== 'number') return 'it is not a number';
  const others = Array.from(held.get(key)?.values() ?? [], ({ write }) =>
    write?.kind === 'add' ? write.by : 0,
  );
  return boundsRefusal(value, others, add);
}

/** Two branches may hold one key together when both only look, or both only add. */
function isCompatible(one: Intent, other: Intent): boolean {
  const onlyLook = [one, other].every(({ write }) => write === undefined);
  const onlyAdd = [one, other].every(
    ({ write, seenVersion }) => write?.kind === 'add' && seenVersion === undefined,
  );
  return onlyLook || onlyAdd;
}

/**
 * The worst case counts: of the other prepared branches those that subtract against the lower
 * bound, those that add against the upper one. (The escrow test.)
 */
function boundsRefusal(
  value: number,
  others: readonly number[],
  { by, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }: Increment,
): string | undefined {
  const low = others.filter((each) => each < 0).reduce((sum, each) => sum + each, value);
  const high = others.filter((each) => each > 0).reduce((sum, each) => sum + each, value);
  // Only what this branch does itself is refused: giving back never makes a low number worse.
  if (by < 0 && low + by < min) return `${low} is available, ${-by} would fall below ${min}`;
  if (by > 0 && high + by > max) return `${high} is reached, ${by} more would exceed ${max}`;
  return undefined;
}

function appliedTo(value: unknown, write: Write): unknown {
  if (write.kind === 'delete') return undefined;
  if (write.kind === 'set') return write.value;
  return (typeof value === 'number' ? value : 0) + write.by;
}

function notPrepared(
  name: string,
  branchId: string,
  outcome: 'aborted' | 'committed' | undefined,
): CoordinationError {
  if (outcome === 'aborted') return branchAbortedError(name, branchId);
  return new CoordinationError(
    'RESULT_UNKNOWN',
    `participant "${name}" knows nothing of branch ${branchId}: it was never prepared here, or ` +
      `ended more than ${OUTCOMES_MAX} branches ago`,
    { backend: 'memory', operation: 'commit' },
  );
}

function participantFull(
  participant: string,
  slotsMax: number,
): CoordinationError<'PARTICIPANT_FULL'> {
  return new CoordinationError(
    'PARTICIPANT_FULL',
    `participant "${participant}" holds ${slotsMax} prepared branches, its preparedMax; ` +
      'try again when recovery has finished some',
    { participant, slotsMax },
  );
}
