import { expect, test } from 'vitest';
import { type Random, seededRandom } from '../../../src/core/random.js';
import { type Fault, type StagedCoordinator, stage } from './stage.js';

/**
 * Goal: money is neither made nor lost, whatever goes wrong together. Method: processes move amounts
 * between two stores while replies are lost, calls fail or are late, and processes die; afterwards
 * one healthy process recovers and the books are compared. A seed repeats a run exactly:
 * `TRICORD_SEED=… npx vitest …`.
 */
const SEEDS = process.env.TRICORD_SEED
  ? [Number(process.env.TRICORD_SEED)]
  : Array.from({ length: 25 }, (_, index) => 1_000 + index);
const TRANSFERS = 40;
const PROCESSES = 3;

function trouble(
  random: Random,
  node: StagedCoordinator,
  clock: ReturnType<typeof stage>['clock'],
): Fault {
  return async (operation) => {
    const chance = random.fraction();
    if (chance < 0.03) return 'lost';
    if (chance < 0.06) throw new Error(`${operation} failed`);
    if (chance < 0.1) {
      const delayMs = random.fraction() * 3_000;
      await new Promise<void>((resolve) => clock.schedule(delayMs, resolve));
    }
    if (chance > 0.992) await node.crash();
    return chance > 0.985 ? 'dead' : undefined;
  };
}

for (const seed of SEEDS) {
  test(`books balance after trouble of every kind, seed ${seed}`, async () => {
    const random = seededRandom(seed);
    const { clock, stock, orders, process } = stage();
    stock.load({ cash: 1_000 });
    orders.load({ cash: 1_000 });
    const told = { committed: 0, aborted: 0, 'in-doubt': 0 };
    let settled = 0;
    const start = (): StagedCoordinator => {
      const node = process({ sweepMs: 1_000, timeoutMs: 2_000 });
      const faults = trouble(random, node, clock);
      Object.assign(node.faults, { log: faults, participant: faults });
      return node;
    };
    const nodes = Array.from({ length: PROCESSES }, start);
    for (let index = 0; index < TRANSFERS; index += 1) {
      const at = Math.floor(random.fraction() * PROCESSES);
      const node = nodes[at] as StagedCoordinator;
      const running = node.coordinator.run({ resourceId: `transfer:${index}` }, async (tx) => {
        await (await tx.enlist(node.stock)).reserve('cash', 10);
        const book = await tx.enlist(node.orders);
        await book.increment('cash', 10);
        await book.insert(`transfer:${index}`, true);
      });
      const count = ({ state }: { readonly state: keyof typeof told }): void => {
        told[state] += 1;
      };
      running
        .then(count, () => {})
        .finally(() => {
          settled += 1;
        });
      await clock.advance(random.fraction() * 200);
      // A dead process is replaced, as an orchestrator would.
      if (random.fraction() < 0.05) nodes[at] = start();
    }
    await clock.advance(30_000);
    for (const node of nodes) await node.crash();
    const healthy = process();
    for (let pass = 0; pass < 2; pass += 1) await clock.runUntil(healthy.coordinator.recover());
    const moved = orders.entries('transfer:').length;
    expect(stock.read('cash')).toBe(1_000 - 10 * moved);
    expect(orders.read('cash')).toBe(1_000 + 10 * moved);
    expect([await stock.recover(), await orders.recover()]).toEqual([[], []]);
    expect(moved).toBeGreaterThanOrEqual(told.committed);
    expect(moved).toBeLessThanOrEqual(TRANSFERS - told.aborted);
    expect(settled).toBeGreaterThan(0);
  });
}
