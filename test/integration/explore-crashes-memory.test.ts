// The explorer on resources of this process: what it finds, and that it finds what is wrong.

import { createTransactionCoordinator, type DecisionLog } from 'tricord';
import { memoryParticipant, memoryTransactions } from 'tricord/memory';
import { type CrashExplorationOptions, exploreCrashes } from 'tricord/testing';
import { describe, expect, test } from 'vitest';
import { committedOutcome } from '../../src/transaction/outcome.js';
import { naiveCoordinator } from './naive-coordinator.js';

function shop(changes: Partial<Omit<CrashExplorationOptions, 'body' | 'check'>> = {}) {
  const stock = memoryParticipant({ name: 'stock' });
  const orders = memoryParticipant({ name: 'orders' });
  stock.load({ lamps: 1_000_000 });
  const lines: string[] = [];
  const exploring = exploreCrashes({
    log: memoryTransactions(),
    participants: [stock, orders],
    async body(tx, { key, lane }) {
      const [shelf, book] = [await tx.enlist(stock), await tx.enlist(orders)];
      await shelf.increment('lamps', -1, { min: 0 });
      await book.set(`last:${lane}`, key);
      await shelf.set(`sold:${key}`, true);
      await book.set(`order:${key}`, 'one lamp');
    },
    check: ({ key }) => ({
      stock: stock.read(`sold:${key}`) === true,
      orders: orders.read(`order:${key}`) !== undefined,
    }),
    print: (line) => lines.push(line),
    ...changes,
  });
  return { exploring, lines };
}

/** The rules that were broken. */
async function brokenRules(exploring: ReturnType<typeof exploreCrashes>) {
  const { violations } = await exploring;
  return new Set(violations.map(({ what }) => what.split(':')[0]));
}

/** Fences nobody: a recoverer concludes an abort from a record that may still come. */
function unfenced(log: DecisionLog): DecisionLog {
  return { ...log, open: (node) => ({ ...log.open(node), fence: async () => {} }) };
}

describe('the crash explorer in memory', () => {
  test('finds nothing wrong in any point of the coordinator, recoverers that die included', async () => {
    const { exploring, lines } = shop();
    const { violations, pointCount, points, endings } = await exploring;
    expect(violations).toEqual([]);
    expect(new Set(points).size).toBe(pointCount);
    expect(pointCount).toBeGreaterThan(500);
    expect(endings.committed).toBeGreaterThan(100);
    expect(endings.aborted).toBeGreaterThan(100);
    expect(lines).toEqual([`explored ${pointCount} points: 0 violations`]);
  }, 60_000);

  test('convicts a coordinator that writes no decision', async () => {
    const { exploring, lines } = shop({ coordinator: naiveCoordinator });
    expect(await brokenRules(exploring)).toContain('atomicity');
    const mixed = (await exploring).violations.map(({ point }) => point);
    expect(mixed).toContain('commit; owner orders.branch.commit crash-before');
    expect(lines.join('\n')).toMatch(/VIOLATED atomicity: .*\n {2}at: commit; owner \w+\.branch/);
  }, 60_000);

  test('convicts a log that does not fence, when an owner wakes after recovery', async () => {
    const { violations } = await shop({ log: unfenced(memoryTransactions()), pairsMax: 0 })
      .exploring;
    const points = new Set(violations.map(({ point }) => point));
    expect([...points]).toContain('commit; owner log.decide pause-before');
    expect([...points].every((point) => point.includes(' pause-'))).toBe(true);
  }, 60_000);

  test('convicts a coordinator that tells a success too early', async () => {
    const exploring = shop({
      pairsMax: 0,
      coordinator(options) {
        const coordinator = createTransactionCoordinator(options);
        return {
          recover: coordinator.recover,
          close: coordinator.close,
          async run(runOptions, body) {
            const outcome = await coordinator.run(runOptions, body);
            if (outcome.state !== 'aborted' || outcome.by !== 'participant') return outcome;
            return committedOutcome(outcome.transactionId, undefined as never, []);
          },
        };
      },
    }).exploring;
    expect(await brokenRules(exploring)).toEqual(new Set(['no false success']));
  }, 60_000);

  test('convicts a participant that holds on to what an abort should free', async () => {
    const stock = memoryParticipant({ name: 'stock' });
    const orders = memoryParticipant({ name: 'orders' });
    const exploring = exploreCrashes({
      log: memoryTransactions(),
      participants: { stock: { ...stock, abort: async () => {} }, orders },
      pairsMax: 0,
      async body(tx, { key, participants }) {
        await (await tx.enlist(participants.stock)).set(`sold:${key}`, true);
        await (await tx.enlist(participants.orders)).set(`order:${key}`, true);
      },
      check: ({ key }) => ({
        stock: stock.read(`sold:${key}`) === true,
        orders: orders.read(`order:${key}`) === true,
      }),
    });
    expect(await brokenRules(exploring)).toContain('residue');
  }, 60_000);

  test('plays a single point again by its name', async () => {
    const point = 'commit; owner log.decide crash-after; recoverer stock.commit reply-lost';
    const { pointCount, points, endings } = await shop({ only: point }).exploring;
    expect({ pointCount, points }).toEqual({ pointCount: 1, points: [point] });
    expect(endings).toEqual({ committed: 1, aborted: 0 });
  });

  test('takes as many points of two deaths as it is told to, the same ones for one seed', async () => {
    const points = async (seed: number) =>
      (await shop({ pairsMax: 10, seed }).exploring).points.filter((each) =>
        each.includes('recoverer'),
      );
    const [first, again, other] = [await points(7), await points(7), await points(8)];
    expect(first).toHaveLength(10);
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  }, 60_000);

  test('says at once when the transaction fails without any fault', async () => {
    const stock = memoryParticipant({ name: 'stock' });
    const exploring = exploreCrashes({
      log: memoryTransactions(),
      participants: [stock],
      body: () => Promise.reject(new Error('sold out')),
      check: () => true,
    });
    await expect(exploring).rejects.toThrow(/cannot be played without a fault: .*aborted/s);
  });

  test('refuses what it cannot explore', async () => {
    const invalid = { code: 'INVALID_ARGUMENT' };
    await expect(shop({ participants: [] }).exploring).rejects.toMatchObject(invalid);
    await expect(shop({ only: 'commit; nobody' }).exploring).rejects.toMatchObject(invalid);
    await expect(shop({ concurrency: 0 }).exploring).rejects.toMatchObject(invalid);
    await expect(shop({ log: {} as never }).exploring).rejects.toMatchObject(invalid);
  });
});
