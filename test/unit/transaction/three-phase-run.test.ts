import assert from 'node:assert/strict';
import { afterEach, describe, expect, test } from 'vitest';
import { newTransactionIds } from '../../../src/core/ids.js';
import { seededRandom } from '../../../src/core/random.js';
import { memoryParticipant } from '../../../src/drivers/memory/participant.js';
import { memorySiteStorage } from '../../../src/drivers/memory/site-storage.js';
import { memoryTransport } from '../../../src/drivers/memory/site-transport.js';
import { memoryTransactions } from '../../../src/drivers/memory/transactions.js';
import { virtualClock } from '../../../src/testing/virtual-clock.js';
import { callIdOf } from '../../../src/transaction/branch-id.js';
import { createTransactionCoordinator } from '../../../src/transaction/create-coordinator.js';
import type { InDoubtBranch } from '../../../src/transaction/recovery-report.js';
import { callAfter } from '../../../src/transaction/remote/call-record.js';
import { serveParticipant } from '../../../src/transaction/remote/serve-participant.js';
import { createTransactionSite } from '../../../src/transaction/three-phase/create-site.js';
import type {
  SiteLine,
  SiteTransport,
} from '../../../src/transaction/three-phase/site-transport.js';
import { SITES_AUTHORITY } from '../../../src/transaction/three-phase/sites-authority.js';
import { SITE } from '../../../src/transaction/three-phase/transaction-site.js';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A coordinator with orders, and the services stock and payment, each with a site of its own. */
function world() {
  const clock = virtualClock();
  const store = memoryTransactions({ clock });
  const hub = memoryTransport();
  const cut = new Set<string>();
  /** Cut off as soon as the coordinator asks for the pre-commit. */
  const cutAtAttempt: string[] = [];
  const disks = memorySiteStorage();
  let seed = 1;
  const parts = () => {
    seed += 1;
    return { clock, random: seededRandom(seed) };
  };
  const transport: SiteTransport = {
    backend: 'memory',
    open(node, receive): SiteLine {
      const line = hub.open(node, (text) => {
        if (!cut.has(node.site)) receive(text);
      });
      const send: SiteLine['send'] = async (to, text) => {
        if (text.includes('"m":"try"')) for (const name of cutAtAttempt.splice(0)) cut.add(name);
        if (!cut.has(node.site)) await line.send(to, text);
      };
      return { ...line, send };
    },
  };
  const site = (name: string) => {
    const made = createTransactionSite({ name, transport, storage: disks, ...parts() });
    closers.push(() => made.close());
    return made;
  };
  const resource = (name: string) => {
    const made = memoryParticipant({ name, clock });
    made.load({ left: 10 });
    return made;
  };
  const [orders, stock, payment] = [resource('orders'), resource('stock'), resource('payment')];
  const serve = (name: string, participant: typeof stock, own = site(`${name}-1`)) => {
    const served = serveParticipant<number, string>({
      store,
      name,
      participants: [participant],
      site: own,
      handlers: {
        async prepare(count, { enlist }) {
          await (await enlist(participant)).increment('left', -count, { min: 0 });
          return 'taken';
        },
      },
      ...parts(),
    });
    closers.push(() => served.close({ drainMs: 0 }));
    return served;
  };
  const coordinator = (options: object = {}) => {
    const made = createTransactionCoordinator({
      log: store,
      participants: [orders],
      ...parts(),
      ...options,
    });
    closers.push(() => made.close({ drainMs: 0 }));
    return made;
  };
  return {
    clock,
    store,
    cut,
    cutAtAttempt,
    parts,
    site,
    orders,
    stock,
    payment,
    serve,
    coordinator,
  };
}

const REFUSAL = { vote: 'no', reason: 'not today' } as const;

type World = ReturnType<typeof world>;

const left = ({ orders, stock, payment }: World) =>
  [orders, stock, payment].map((each) => each.read('left'));
const prepared = async ({ orders, stock, payment }: World) =>
  (await Promise.all([orders, stock, payment].map((each) => each.recover()))).flat();

function order(here: World, coordinator: ReturnType<World['coordinator']>, count = 1) {
  return coordinator.run(
    { resourceId: 'order:1', protocol: 'three-phase', timeoutMs: 10_000 },
    async (tx) => {
      await (await tx.enlist(here.orders)).increment('left', -1, { min: 0 });
      const answers = await Promise.all([tx.call('stock', count), tx.call('payment', 1)]);
      return answers.join();
    },
  );
}

describe('a three-phase transaction', () => {
  test('commits in the coordinator and in every service, and leaves nothing behind', async () => {
    const here = world();
    here.serve('stock', here.stock);
    here.serve('payment', here.payment);
    const site = here.site('orders-1');
    const coordinator = here.coordinator({ site });
    const outcome = await here.clock.runUntil(order(here, coordinator));
    expect(outcome).toMatchObject({ state: 'committed', value: 'taken,taken', pending: [] });
    expect(outcome.transactionId).toMatch(/^tc1\.default\.sites\./);
    expect(left(here)).toEqual([9, 9, 9]);
    await here.clock.advance(3_000);
    expect(site.stats()).toMatchObject({ recordCount: 0, committedCount: 1 });
    expect(await prepared(here)).toEqual([]);
  });

  test('aborts when a service refuses, or its body throws', async () => {
    const here = world();
    here.serve('stock', here.stock);
    here.serve('payment', here.payment);
    const coordinator = here.coordinator({ site: here.site('orders-1') });
    const refused = await here.clock.runUntil(order(here, coordinator, 11));
    expect(refused).toMatchObject({ state: 'aborted', by: 'participant', participant: 'stock' });
    const thrown = await here.clock.runUntil(
      coordinator.run({ resourceId: 'o', protocol: 'three-phase' }, async (tx) => {
        await tx.call('stock', 1);
        throw new Error('enough');
      }),
    );
    expect(thrown).toMatchObject({ state: 'aborted', by: 'body' });
    await here.clock.advance(120_000);
    expect(left(here)).toEqual([10, 10, 10]);
    expect(await prepared(here)).toEqual([]);
  });

  test('aborts when its own resource votes no', async () => {
    const here = world();
    here.serve('stock', here.stock);
    here.serve('payment', here.payment);
    const { orders } = here;
    const enlist: typeof orders.enlist = async (context) => {
      const branch = await orders.enlist(context);
      return { ...branch, handle: branch.handle, prepare: async () => REFUSAL };
    };
    const refusing = { ...orders, enlist };
    const site = here.site('orders-1');
    const coordinator = here.coordinator({ site, participants: [refusing] });
    const outcome = await here.clock.runUntil(order({ ...here, orders: refusing }, coordinator));
    expect(outcome).toMatchObject({ state: 'aborted', participant: 'orders', reason: 'not today' });
    await here.clock.advance(120_000);
    expect(left(here)).toEqual([10, 10, 10]);
    expect(await prepared(here)).toEqual([]);
  });

  test('is refused without a site, with a key, and with fewer than three sites', async () => {
    const here = world();
    here.serve('stock', here.stock);
    const options = { resourceId: 'o', protocol: 'three-phase' } as const;
    const none = here.coordinator();
    await expect(none.run(options, () => 1)).rejects.toMatchObject({
      code: 'PROTOCOL_UNSUPPORTED',
    });
    const coordinator = here.coordinator({ site: here.site('orders-1') });
    const keyed = coordinator.run({ ...options, key: 'k' }, () => 1);
    await expect(keyed).rejects.toMatchObject({ code: 'PROTOCOL_UNSUPPORTED' });
    const two = coordinator.run(options, (tx) => tx.call('stock', 1));
    const refusal = here.clock.runUntil(two);
    await expect(refusal).rejects.toMatchObject({ details: { found: '2 of 2 participants' } });
    await here.clock.advance(120_000);
    expect(left(here)).toEqual([10, 10, 10]);
  });

  test('is refused by a service that has no site', async () => {
    const here = world();
    const served = serveParticipant({
      store: here.store,
      name: 'stock',
      handlers: { prepare: () => 1 },
      clock: here.clock,
    });
    const coordinator = here.coordinator({ site: here.site('orders-1') });
    const outcome = await here.clock.runUntil(
      coordinator.run({ resourceId: 'o', protocol: 'three-phase' }, (tx) => tx.call('stock', 1)),
    );
    expect(outcome).toMatchObject({ state: 'aborted', by: 'participant' });
    expect((outcome as { reason: string }).reason).toMatch(/no site/);
    await served.close({ drainMs: 0 });
  });

  test('two calls of one site vote together', async () => {
    const here = world();
    const stockSite = here.site('stock-1');
    here.serve('stock', here.stock, stockSite);
    here.serve('more', here.orders, stockSite);
    here.serve('payment', here.payment);
    const coordinator = here.coordinator({ site: here.site('orders-1'), participants: [] });
    const outcome = await here.clock.runUntil(
      coordinator.run({ resourceId: 'o', protocol: 'three-phase' }, async (tx) => {
        for (const name of ['stock', 'more', 'payment', 'stock']) await tx.call(name, 1);
      }),
    );
    expect(outcome.state).toBe('committed');
    await here.clock.advance(3_000);
    expect(left(here)).toEqual([9, 8, 9]);
    expect(stockSite.stats().recordCount).toBe(0);
  });

  test('whose coordinator is cut off after the votes is ended by the others, and in-doubt here', async () => {
    const here = world();
    here.serve('stock', here.stock);
    here.serve('payment', here.payment);
    const coordinator = here.coordinator({ site: here.site('orders-1') });
    here.cutAtAttempt.push('orders-1');
    const outcome = await here.clock.runUntil(order(here, coordinator));
    expect(outcome).toMatchObject({
      state: 'in-doubt',
      pending: expect.arrayContaining(['orders']),
    });
    await here.clock.advance(20_000);
    const [own, ...others] = left(here);
    expect(own).toBe(10);
    expect(new Set(others).size).toBe(1);
    here.cut.clear();
    await here.clock.advance(200_000);
    expect(left(here)).toEqual([others[0], ...others]);
    expect(await prepared(here)).toEqual([]);
    expect(coordinator.stats().resolvedCount).toBe(1);
  });

  test('is left alone by the recovery of two-phase commit, of its own and of other nodes', async () => {
    const here = world();
    here.serve('stock', here.stock);
    here.serve('payment', here.payment);
    const coordinator = here.coordinator({ site: here.site('orders-1') });
    here.cutAtAttempt.push('orders-1', 'stock-1', 'payment-1');
    const running = order(here, coordinator);
    await here.clock.advance(2_000);
    // The log knows this coordinator no more, which in two-phase commit means abort.
    const other = here.coordinator({ nodeId: 'other' });
    await here.clock.runUntil(coordinator.close({ drainMs: 0 }));
    const report = await here.clock.runUntil(other.recover());
    expect(report.unknownNamespace).toMatchObject([{ authority: 'sites', participant: 'orders' }]);
    await here.clock.advance(100_000);
    expect(await prepared(here)).toHaveLength(3);
    here.cut.clear();
    await here.clock.advance(200_000);
    expect(await prepared(here)).toEqual([]);
    expect(new Set(left(here)).size).toBe(1);
    expect(await running).toMatchObject({ state: 'in-doubt' });
  });

  test('frees a site that is not asked for its vote when its own time is up', async () => {
    const here = world();
    const waits: number[] = [];
    const site = here.site('stock-1');
    const desk = site[SITE];
    const join: typeof desk.join = (id, work) => {
      waits.push(work.timeoutMs);
      return desk.join(id, work);
    };
    here.serve('stock', here.stock, { ...site, [SITE]: { ...desk, join } });
    here.serve('payment', here.payment);
    const coordinator = here.coordinator({ site: here.site('orders-1') });
    await here.clock.runUntil(order(here, coordinator));
    expect(waits).toHaveLength(1);
    expect(waits[0]).toBeGreaterThan(9_500);
    expect(waits[0]).toBeLessThanOrEqual(10_000);
  });

  test('leaves no record of a call in the store when its caller died', async () => {
    const here = world();
    here.serve('stock', here.stock);
    const node = { nodeId: 'dead', namespace: 'default', ...here.parts() };
    const calls = here.store.openCalls?.(node);
    assert.ok(calls);
    const origin = {
      namespace: 'default',
      authority: SITES_AUTHORITY,
      incarnation: 'x'.repeat(11),
    };
    const newId = newTransactionIds(origin);
    const callId = callIdOf(newId('order:1', 'dead'), 0);
    const record = await calls.create({ callId, service: 'gone', payload: '1', timeoutMs: 60_000 });
    const taken = await calls.take('gone');
    const { server, attempt } = taken?.record ?? { server: '', attempt: 0 };
    const branches = [{ participant: 'stock/stock', branchId: 'b', evidence: '' }];
    const yes = { vote: 'yes', result: '1', branches, site: 'gone-1' } as const;
    const vote = { type: 'vote', server, attempt, vote: yes } as const;
    const voted = callAfter(taken?.record ?? record, vote, 'w'.repeat(11));
    assert.ok(voted);
    await calls.replace(voted, taken?.record.writeId ?? '');
    here.serve('gone', here.payment);
    await here.clock.advance(15_000);
    expect(await calls.list('gone', 10)).toEqual([]);
    await calls.close();
  });

  test('is listed as in doubt by the next life of its site, until the others answer', async () => {
    const here = world();
    here.serve('stock', here.stock);
    here.serve('payment', here.payment);
    const site = here.site('orders-1');
    const coordinator = here.coordinator({ site });
    here.cutAtAttempt.push('orders-1', 'stock-1', 'payment-1');
    const running = order(here, coordinator);
    await here.clock.advance(2_000);
    await here.clock.runUntil(coordinator.close({ drainMs: 0 }));
    await site.close();
    const again = here.coordinator({ site: here.site('orders-1') });
    await here.clock.advance(100);
    const listed = async () => {
      const found: InDoubtBranch[] = [];
      for await (const each of again.inDoubt()) found.push(each);
      return found;
    };
    const { transactionId } = await running;
    expect(await here.clock.runUntil(listed())).toMatchObject([
      { transactionId, participant: 'orders', decision: 'unknown' },
    ]);
    here.cut.clear();
    await here.clock.advance(200_000);
    expect(await here.clock.runUntil(listed())).toEqual([]);
  });

  test('no log may be called "sites"', () => {
    const log = { ...memoryTransactions(), authority: 'sites' };
    expect(() => createTransactionCoordinator({ log, participants: [] })).toThrow(/decision log/);
  });
});
