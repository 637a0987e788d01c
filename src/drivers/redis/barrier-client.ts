import { assertNumber, assertResourceId, invalidArgument } from '../../core/validate.js';
import type { RedisIncrementBounds } from './participant-intents.js';

/**
 * What the functions of a participant with a {@link redisBarrier} work with: the writes of one atomic
 * step, to keys of the service's own Redis. Nothing is sent until the function returns; then all of
 * them are checked and performed in one script, together with the barrier's mark. Where a condition
 * does not hold the step is refused: a prepare votes no.
 *
 * A function may be called again for the same step, so it decides by its request alone. One step does
 * one kind of thing to a key. On a cluster all keys have the barrier's hash tag. Keys are non-empty
 * texts of at most 1,024 bytes.
 */
export interface RedisBarrierClient {
  /** Sets a string, which then has no time to live. */
  set(key: string, value: string): void;
  /** Removes a key of any type. */
  delete(key: string): void;
  /** Demands the text under a key, or that there is none for undefined. */
  expect(key: string, value: string | undefined): void;
  /** Adds a whole number to another; an absent key counts as 0. The sum must not be below `min`. */
  increment(key: string, by?: number, bounds?: RedisIncrementBounds): void;
  /** Sets a field of a hash. */
  setField(key: string, field: string, value: string): void;
  /** Removes a field of a hash. */
  deleteField(key: string, field: string): void;
  /** Adds a member to a set. */
  addMember(key: string, member: string): void;
  /** Removes a member from a set. */
  removeMember(key: string, member: string): void;
  /** Adds a value at the end of a list. */
  append(key: string, value: string): void;
}

/** One write as it stands in the script's arguments. `need` is the type that the key must have. */
export interface BarrierWrite {
  readonly key: string;
  readonly command: 'SET' | 'DEL' | 'INCRBY' | 'HSET' | 'HDEL' | 'SADD' | 'SREM' | 'RPUSH' | '';
  readonly need: 'string' | 'hash' | 'set' | 'list' | '';
  readonly values: readonly string[];
  readonly by?: number | undefined;
  readonly min?: number | undefined;
  readonly expect?: 'absent' | 'value' | undefined;
  readonly seen?: string | undefined;
}

const WRITES_MAX = 1_000;

/** Collects the writes of one step. `assertSlot` throws for a key of another slot. */
export function barrierWrites(assertSlot: (key: string) => void): {
  readonly client: RedisBarrierClient;
  readonly writes: readonly BarrierWrite[];
} {
  const writes: BarrierWrite[] = [];
  const add = (write: BarrierWrite): void => {
    const { key, need, command } = write;
    assertResourceId(key, 'key');
    assertSlot(key);
    for (const value of write.values) assertText(value);
    const other = writes.find((each) => each.key === key);
    const isAlike = other?.need === need && need !== '' && need !== 'string';
    if (other !== undefined && !isAlike) {
      throw invalidArgument(
        'key',
        key,
        `one kind of write to a key in one step; ${command} is another`,
      );
    }
    if (writes.length >= WRITES_MAX) {
      throw invalidArgument('key', key, `at most ${WRITES_MAX} writes in one step`);
    }
    writes.push(write);
  };
  const client: RedisBarrierClient = {
    set: (key, value) => add({ key, command: 'SET', need: '', values: [value] }),
    delete: (key) => add({ key, command: 'DEL', need: '', values: [] }),
    expect: (key, value) => {
      const seen = value === undefined ? {} : { seen: value };
      const expect = value === undefined ? 'absent' : 'value';
      add({ key, command: '', need: 'string', values: [], expect, ...seen });
    },
    increment: (key, by = 1, { min } = {}) => {
      assertWhole('by', by);
      if (min !== undefined) assertWhole('min', min);
      const before = writes.findIndex((each) => each.key === key && each.command === 'INCRBY');
      const [same] = before < 0 ? [] : writes.splice(before, 1);
      const total = (same?.by ?? 0) + by;
      const floors = [same?.min, min].filter((each) => each !== undefined);
      const floor = floors.length === 0 ? {} : { min: Math.max(...floors) };
      add({ key, command: 'INCRBY', need: 'string', values: [], by: total, ...floor });
    },
    setField: (key, field, value) =>
      add({ key, command: 'HSET', need: 'hash', values: [field, value] }),
    deleteField: (key, field) => add({ key, command: 'HDEL', need: 'hash', values: [field] }),
    addMember: (key, member) => add({ key, command: 'SADD', need: 'set', values: [member] }),
    removeMember: (key, member) => add({ key, command: 'SREM', need: 'set', values: [member] }),
    append: (key, value) => add({ key, command: 'RPUSH', need: 'list', values: [value] }),
  };
  return { client, writes };
}

function assertText(value: unknown): void {
  if (typeof value !== 'string') throw invalidArgument('value', value, 'a string');
}

function assertWhole(argument: string, value: unknown): void {
  const max = Number.MAX_SAFE_INTEGER;
  assertNumber(argument, value, { min: -max, max, integer: true });
}
