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
  | ({ readonly kind: 'add'; readonly by: number } & IncrementBounds);

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
  refusalOf(key: string, add: Write & { kind: 'add' }): string | undefined;
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

/** The state of the memory participant `name`. */
export function keyValueStore(options: {
  readonly name: string;
  readonly preparedMax: number;
  readonly clock: Clock;
}): KeyValueStore {
  const { name, preparedMax, clock } = options;
  const rows = new Map<string, Row>();
  const prepared = new Map<string, PreparedWork>();
  const outcomes = new Map<string, 'committed' | 'aborted'>();
  /** By key, what prepared branches hold of it. */
  const held = new Map<string, Map<string, Intent>>();
  let versions = 0;

  const put = (key: string, value: unknown): void => {
    versions += 1;
    if (value === undefined) rows.delete(key);
    else rows.set(key, { value, version: versions });
  };
  const version = (key: string): number => rows.get(key)?.version ?? 0;
  const numberOf = (key: string): number => {
    const value = rows.get(key)?.value ?? 0;
    return typeof value === 'number' ? value : Number.NaN;
  };
  const conclude = (branchId: string, outcome: 'committed' | 'aborted'): void => {
    for (const key of prepared.get(branchId)?.intents.keys() ?? []) {
      const holders = held.get(key);
      holders?.delete(branchId);
      if (holders?.size === 0) held.delete(key);
    }
    prepared.delete(branchId);
    outcomes.set(branchId, outcome);
    const [oldest] = outcomes.keys();
    if (outcomes.size > OUTCOMES_MAX && oldest !== undefined) outcomes.delete(oldest);
  };
  const refusalOf = (key: string, add: Write & { kind: 'add' }): string | undefined => {
    const value = numberOf(key);
    if (Number.isNaN(value)) return 'it is not a number';
    const others = Array.from(held.get(key)?.values() ?? [], ({ write }) =>
      write?.kind === 'add' ? write.by : 0,
    );
    return boundsRefusal(value, others, add);
  };
  const conflictOf = ([key, intent]: readonly [string, Intent]): string | undefined => {
    const { seenVersion, write } = intent;
    if (seenVersion !== undefined && seenVersion !== version(key)) {
      return `"${key}" was changed by another transaction`;
    }
    const holders = Array.from(held.get(key)?.values() ?? []);
    if (!holders.every((holder) => isCompatible(holder, intent))) {
      return `"${key}" is held by another prepared transaction`;
    }
    const refusal = write?.kind === 'add' ? refusalOf(key, write) : undefined;
    return refusal === undefined ? undefined : `"${key}": ${refusal}`;
  };
  return {
    read: <Value>(key: string) => structuredClone(rows.get(key)?.value) as Value | undefined,
    version,
    entries: <Value>(prefix: string) =>
      Array.from(rows)
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, { value }]) => [key, structuredClone(value) as Value] as const),
    load(values) {
      for (const [key, value] of Object.entries(values)) put(key, structuredClone(value));
    },
    refusalOf,
    assertRoom() {
      if (prepared.size >= preparedMax) throw participantFull(name, preparedMax);
    },
    prepare(branchId, { intents }) {
      if (prepared.has(branchId)) return { vote: 'yes', evidence: '' };
      const ended = outcomes.get(branchId);
      if (ended !== undefined) return { vote: 'no', reason: `the branch was ${ended} before` };
      const conflict = Array.from(intents, conflictOf).find((each) => each !== undefined);
      if (conflict !== undefined) {
        conclude(branchId, 'aborted');
        return { vote: 'no', reason: conflict };
      }
      if (!Array.from(intents.values()).some(({ write }) => write)) return { vote: 'read-only' };
      prepared.set(branchId, { intents: new Map(intents), since: instantOf(clock) });
      for (const [key, intent] of intents) {
        held.set(key, (held.get(key) ?? new Map<string, Intent>()).set(branchId, intent));
      }
      return { vote: 'yes', evidence: '' };
    },
    commit(branchId) {
      if (outcomes.get(branchId) === 'committed') return;
      const work = prepared.get(branchId);
      if (work === undefined) throw notPrepared(name, branchId, outcomes.get(branchId));
      for (const [key, { write }] of work.intents) {
        if (write !== undefined) put(key, appliedTo(rows.get(key)?.value, write));
      }
      conclude(branchId, 'committed');
    },
    abort(branchId) {
      if (outcomes.get(branchId) !== 'committed') conclude(branchId, 'aborted');
    },
    prepared: () =>
      Array.from(prepared, ([branchId, { since }]) => ({
        branchId,
        ageMs: elapsedMs(clock, since),
      })),
    outcome: (branchId) =>
      prepared.has(branchId) ? 'prepared' : (outcomes.get(branchId) ?? 'unknown'),
  };
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
  { by, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }: Write & { kind: 'add' },
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
