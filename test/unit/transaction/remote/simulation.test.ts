// Goal: what is committed is applied at the other node, once, and nothing stays, whatever requests and
// replies are lost, repeated or late. Method: many transactions over one seeded storm, then a calm.

import { expect, test } from 'vitest';
import { chaos } from '../../../../src/testing/chaos.js';
import { remoteStage } from './stage.js';

const SEED = Number(process.env.TRICORD_SEED ?? 20_261);
const RUNS = 40;

test.each([SEED, SEED + 1, SEED + 2])(
  'seed %i: a storm between caller and server mixes nothing',
  async (seed) => {
    const { coordinator, serve, stock, orders, store, clock } = remoteStage();
    stock.load({ 'sku:42': 1_000 });
    const weather = chaos({ seed, clock });
    const stormy = weather.decisionLog(store);
    const servers = [
      serve({ store: stormy, sweepMs: 1_000 }),
      serve({ store: stormy, sweepMs: 1_000 }),
    ];
    const transactions = coordinator({ log: stormy, sweepMs: 1_000 });
    const order = async (index: number): Promise<string> => {
      const options = { resourceId: `order:${index}`, timeoutMs: 20_000 };
      for (let attempt = 0; attempt < 5; attempt += 1) {
        const outcome = await transactions
          .run(options, async (tx) => {
            await (await tx.enlist(orders)).set(`order:${index}`, 'paid');
            await tx.call('inventory', { sku: 'sku:42', quantity: 1 });
          })
          // It could not begin: the store refused to register it.
          .catch(() => undefined);
        if (outcome !== undefined) return outcome.state;
      }
      return 'not begun';
    };
    const storm = Promise.all(Array.from({ length: RUNS }, (_, index) => order(index)));
    const states = await clock.runUntil(storm);
    weather.calm();
    await clock.advance(120_000);

    const placed = orders.entries('order:').length;
    const committed = states.filter((state) => state === 'committed').length;
    expect(1_000 - (stock.read<number>('sku:42') ?? 0), `seed ${seed}`).toBe(placed);
    expect(placed).toBeGreaterThanOrEqual(committed);
    expect(committed).toBeGreaterThan(0);
    expect(await stock.recover()).toEqual([]);
    expect(await orders.recover()).toEqual([]);
    await clock.runUntil(Promise.all([...servers, transactions].map((each) => each.close())));
  },
  60_000,
);
