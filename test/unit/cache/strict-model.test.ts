import { describe, expect, test } from 'vitest';
import { nextStep } from '../../../src/cache/strict-write.js';
import { exploreStrict, type World } from './strict-model.js';

/** A change of the step function. */
type Change = (...given: Parameters<typeof nextStep>) => ReturnType<typeof nextStep>;

const withoutWaiting: Change = (policy, state, event) => {
  const after = nextStep(policy, state, event);
  return after.step === 'wait' ? nextStep(policy, after, { type: 'waited' }) : after;
};
const trustingOthers: Change = (policy, state, event) =>
  nextStep(policy, { ...state, mustOwn: false }, event);
const neverCovered: Change = (policy, state, event) =>
  nextStep(policy, { ...state, coveredUntilMs: Number.MAX_VALUE }, event);

/** Under load; each takes a few seconds. */
const PATIENCE = { timeout: 60_000 };

const WORLDS: readonly World[] = (['update', 'set', 'delete'] as const).flatMap((kind) =>
  ([1, 2] as const).map((writerCount) => ({ kind, writerCount })),
);

describe('the model of a strict cache: every order of every step', () => {
  test.each(WORLDS)(
    '$kind by $writerCount writer(s): no read is ever too old',
    PATIENCE,
    (world) => {
      const { trace, stateCount } = exploreStrict(world);
      expect(trace).toBeUndefined();
      expect(stateCount).toBeGreaterThan(1_000);
    },
  );

  test(
    'a source that changes after the reservation has ended: not after the acknowledgement',
    PATIENCE,
    () => {
      const world = { kind: 'update', writerCount: 1, isLateCommitAllowed: true } as const;
      expect(exploreStrict(world).trace).toBeUndefined();
    },
  );

  test.each<[string, Partial<World>]>([
    ['a writer that changes first', { next: withoutWaiting }],
    ['a writer that forgets that clocks differ', { drift: 0 }],
    ['a lease that is counted from the reply', { fault: 'counts from the reply' }],
    ['a copy of what a writer holds', { fault: 'keeps what is held' }],
  ])('%s is found, whatever is written', PATIENCE, (_, fault) => {
    for (const kind of ['update', 'set', 'delete'] as const) {
      expect(exploreStrict({ kind, writerCount: 1, ...fault }).trace, kind).toBeDefined();
    }
  });

  test('a writer that takes an expired reservation for its own is found', () => {
    const world = { kind: 'delete', writerCount: 1, next: neverCovered } as const;
    expect(exploreStrict(world).trace).toBeDefined();
  });

  test('an update that ends under another reservation than its own is found', PATIENCE, () => {
    const world = { kind: 'update', writerCount: 2, next: trustingOthers } as const;
    expect(exploreStrict(world).trace).toBeDefined();
  });
});
