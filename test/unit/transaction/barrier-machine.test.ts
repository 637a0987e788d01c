// The barrier of a function participant, exhaustively: every order of messages, every interleaving of
// their local transactions, with a crash before each of their steps.

import assert from 'node:assert/strict';
import { type BarrierEffect, type BarrierEvent, type BarrierState, barrierMove } from 'tricord';
import { describe, test } from 'vitest';

const EVENTS: readonly BarrierEvent[] = ['prepare', 'commit', 'abort', 'commit-one-phase'];
const LENGTH_MAX = 7;

interface World {
  readonly state: BarrierState | undefined;
  readonly effects: readonly BarrierEffect[];
}

const EMPTY: World = { state: undefined, effects: [] };

function count({ effects }: World, effect: BarrierEffect): number {
  return effects.filter((each) => each === effect).length;
}

/** What must hold of the effects, whatever happened. */
function assertSound(world: World, trace: string): void {
  for (const effect of ['prepare', 'commit', 'abort'] as const) {
    assert.ok(count(world, effect) <= 1, `${effect} took effect twice: ${trace}`);
  }
  const [prepared, committed, aborted] = [
    count(world, 'prepare'),
    count(world, 'commit'),
    count(world, 'abort'),
  ];
  assert.ok(committed + aborted <= 1, `committed and aborted: ${trace}`);
  assert.ok(prepared >= committed + aborted, `ended without prepare: ${trace}`);
  assert.equal(world.state === 'committed', committed === 1, `state lies: ${trace}`);
  assert.equal(prepared === 1 && committed + aborted === 0, world.state === 'prepared', trace);
}

describe('the barrier', () => {
  test('every sequence of up to seven messages has each effect once, and tells no lie', () => {
    let sequences = 0;
    const explore = (world: World, trace: readonly BarrierEvent[], first?: BarrierEvent): void => {
      sequences += 1;
      if (trace.length === LENGTH_MAX) return;
      for (const event of EVENTS) {
        const { to, effects, answer } = barrierMove(world.state, event);
        const next = { state: to, effects: [...world.effects, ...effects] };
        const told = [...trace, event];
        const shown = told.join(' ');
        assertSound(next, shown);
        const isFinal = world.state === 'committed' || world.state === 'aborted';
        if (isFinal) assert.equal(to, world.state, `an end was changed: ${shown}`);
        if (event === 'commit') assert.equal(answer === 'done', to === 'committed', shown);
        if (event === 'abort') assert.equal(answer === 'done', to === 'aborted', shown);
        if (event === 'prepare') assert.equal(answer === 'done', to === 'prepared', shown);
        if (first === 'abort') assert.deepEqual(next.effects, [], `a late effect: ${shown}`);
        explore(next, told, first ?? event);
      }
    };
    explore(EMPTY, []);
    assert.equal(sequences, (4 ** (LENGTH_MAX + 1) - 1) / 3);
  });

  const MESSAGES: readonly (readonly BarrierEvent[])[] = [
    ['prepare', 'commit', 'commit'],
    ['prepare', 'abort', 'abort'],
    ['prepare', 'prepare', 'abort'],
    ['prepare', 'commit', 'abort'],
    ['commit-one-phase', 'abort', 'commit-one-phase'],
  ];
  test.each(MESSAGES)(
    'local transactions of %s, %s and %s interleave and crash everywhere without harm',
    (...events) => {
      const { ends, violation } = interleave(events, { locks: true, atomic: true });
      assert.equal(violation, undefined);
      assert.ok(ends > 20, `only ${ends} ends were explored`);
    },
  );

  test.each([
    ['without the row lock', { locks: false, atomic: true }],
    ['with effects outside the local transaction', { locks: true, atomic: false }],
  ])('%s the same exploration finds an effect that happened twice', (_, rules) => {
    const found = MESSAGES.map((events) => interleave(events, rules).violation);
    assert.ok(found.some((violation) => violation?.includes('took effect twice')));
  });
});

/** One message's local transaction: look (and lock), perform the effects, commit; then sent again. */
interface Task {
  readonly event: BarrierEvent;
  readonly at: 'start' | 'looked' | 'performed' | 'over';
  readonly seen: BarrierState | undefined;
  readonly crashesLeft: number;
}

interface Scene {
  readonly world: World;
  readonly tasks: readonly Task[];
  readonly lockedBy: number | undefined;
}

function interleave(
  events: readonly BarrierEvent[],
  rules: { readonly locks: boolean; readonly atomic: boolean },
): { readonly ends: number; readonly violation: string | undefined } {
  const seen = new Set<string>();
  let ends = 0;
  let violation: string | undefined;
  const visit = (scene: Scene): void => {
    const key = JSON.stringify(scene);
    if (seen.has(key) || violation !== undefined) return;
    seen.add(key);
    try {
      assertCounts(scene.world, key);
    } catch (error) {
      violation = (error as Error).message;
      return;
    }
    if (scene.tasks.every(({ at }) => at === 'over')) ends += 1;
    for (const index of scene.tasks.keys()) {
      for (const next of stepsOf(scene, index, rules)) visit(next);
    }
  };
  const tasks = events.map(
    (event): Task => ({ event, at: 'start', seen: undefined, crashesLeft: 1 }),
  );
  visit({ world: EMPTY, tasks, lockedBy: undefined });
  return { ends, violation };
}

/** Also in the middle of things no effect may be there twice. */
function assertCounts(world: World, trace: string): void {
  for (const effect of ['prepare', 'commit', 'abort'] as const) {
    assert.ok(count(world, effect) <= 1, `${effect} took effect twice: ${trace}`);
  }
  assert.ok(count(world, 'commit') + count(world, 'abort') <= 1, `both ends: ${trace}`);
}

function* stepsOf(
  scene: Scene,
  index: number,
  { locks, atomic }: { readonly locks: boolean; readonly atomic: boolean },
): Iterable<Scene> {
  const task = scene.tasks[index];
  if (task === undefined || task.at === 'over') return;
  const withTask = (to: Partial<Task>, rest: Partial<Scene> = {}): Scene => ({
    ...scene,
    ...rest,
    tasks: scene.tasks.with(index, { ...task, ...to }),
  });
  const { to, effects } = barrierMove(task.seen, task.event);
  const performed = { ...scene.world, effects: [...scene.world.effects, ...effects] };
  if (task.at === 'start') {
    const isFree = !locks || scene.lockedBy === undefined;
    const seen = scene.world.state;
    if (isFree) yield withTask({ at: 'looked', seen }, locks ? { lockedBy: index } : {});
  } else if (task.at === 'looked') {
    // Outside the local transaction an effect is there at once, and stays after a crash.
    yield withTask({ at: 'performed' }, atomic ? {} : { world: performed });
  } else {
    const world = { state: to, effects: atomic ? performed.effects : scene.world.effects };
    const unlocked = locks ? { lockedBy: undefined } : {};
    yield withTask({ at: 'over' }, { world, ...unlocked });
    // Its reply was lost: the same message comes once more.
    if (task.crashesLeft > 0) {
      const again = { at: 'start', crashesLeft: 0 } as const;
      yield withTask(again, { world, ...unlocked });
    }
  }
  if (task.crashesLeft > 0 && task.at !== 'start') {
    const unlocked = locks ? { lockedBy: undefined } : {};
    yield withTask({ at: 'start', crashesLeft: 0 }, unlocked);
  }
}
