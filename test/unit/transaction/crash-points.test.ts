import { expect, test } from 'vitest';
import { systemRandom } from '../../../src/core/random.js';
import type { Transaction } from '../../../src/transaction/coordinator.js';
import { type StagedCoordinator, stage, type Verdict } from './stage.js';

/**
 * Goal: whatever call a process dies at, before it arrived or after, the others finish both branches
 * the same way, nothing is left, and nobody was lied to. Method: run the same transaction once for
 * every call that it makes, kill its process there, let another one recover and look. The recoverer
 * is killed at every one of its calls, too.
 */
const order = ({ stock, orders }: StagedCoordinator) => {
  return async (tx: Transaction): Promise<void> => {
    await (await tx.enlist(stock)).reserve('sku:42', 1);
    await (await tx.enlist(orders)).set('order:1', 'new');
  };
};

interface CrashPoint {
  readonly call: number;
  readonly when: 'before' | 'after';
}

/** Kills the process at a call; answers how many calls there were. */
function crashAt(node: StagedCoordinator, { call, when }: CrashPoint): { calls: number } {
  const seen = { calls: 0 };
  const fault = async (): Promise<Verdict> => {
    seen.calls += 1;
    if (seen.calls !== call) return undefined;
    if (when === 'before') await node.crash();
    return 'dead';
  };
  node.faults.log = fault;
  node.faults.participant = fault;
  return seen;
}

async function playOwner(
  point: CrashPoint,
  recovererPoint?: CrashPoint,
): Promise<{
  readonly calls: number;
  readonly recovererCalls: number;
  readonly isCommitted: boolean;
}> {
  const { clock, stock, orders, log, process } = stage();
  const [owner, recoverer, last] = [process(), process(), process()];
  const seen = crashAt(owner, point);
  let told: string | undefined;
  owner.coordinator.run({ resourceId: 'o', timeoutMs: 1_000 }, order(owner)).then(
    ({ state }) => {
      told = state;
    },
    () => {},
  );
  await clock.advance(5_000);
  await owner.crash();
  const recovererSeen = crashAt(recoverer, recovererPoint ?? { call: 0, when: 'before' });
  recoverer.coordinator.recover().catch(() => {});
  await clock.advance(60_000);
  await clock.runUntil(last.coordinator.recover());
  const isCommitted = stock.read('sku:42') === 9;
  expect(orders.read('order:1'), 'atomicity').toBe(isCommitted ? 'new' : undefined);
  expect([await stock.recover(), await orders.recover()], 'no residue').toEqual([[], []]);
  if (told === 'committed') expect(isCommitted, 'no false success').toBe(true);
  if (told === 'aborted') expect(isCommitted, 'no false failure').toBe(false);
  const viewer = log.open({ nodeId: 'v', namespace: 'default', clock, random: systemRandom });
  for (const { unacknowledgedCount } of await viewer.incarnations()) {
    expect(unacknowledgedCount, 'every record acknowledged').toBe(0);
  }
  // The resources are free again: somebody else sells the next one.
  await clock.runUntil(last.coordinator.commit({ resourceId: 'next' }, order(last)));
  return { calls: seen.calls, recovererCalls: recovererSeen.calls, isCommitted };
}

test('a coordinator killed at any call leaves what another one finishes, whole', async () => {
  const { calls } = await playOwner({ call: 0, when: 'before' });
  expect(calls).toBeGreaterThan(9);
  const endings: string[] = [];
  for (let call = 1; call <= calls; call += 1) {
    for (const when of ['before', 'after'] as const) {
      endings.push((await playOwner({ call, when })).isCommitted ? 'committed' : 'aborted');
    }
  }
  // The decision is one call: killed before it arrived everything aborts, afterwards all commits.
  const first = endings.indexOf('committed');
  expect(endings.slice(0, first).every((each) => each === 'aborted')).toBe(true);
  expect(endings.slice(first).every((each) => each === 'committed')).toBe(true);
  expect(first % 2).toBe(1);
}, 60_000);

test('a recoverer killed at any call, too, leaves what a third one finishes', async () => {
  const { calls } = await playOwner({ call: 0, when: 'before' });
  for (let call = 6; call <= calls; call += 1) {
    const owner = { call, when: 'after' } as const;
    const { recovererCalls } = await playOwner(owner);
    for (let second = 1; second <= recovererCalls; second += 1) {
      // Killed before the next call is the same to everybody else, and need not be tried again.
      await playOwner(owner, { call: second, when: 'after' });
    }
  }
}, 60_000);
