import { describe, expect, test } from 'vitest';
import {
  type BranchContext,
  type CacheBranch,
  cacheParticipant,
  createTransactionCoordinator,
  functionParticipant,
  newTransactionId,
} from '../../../src/index.js';
import { memoryBarrier, memoryTransactions } from '../../../src/memory.js';
import { sharedMemory } from './shared-memory.js';
import { cacheBench } from './support.js';

const WRITES = ['seize', 'hold', 'invalidate', 'clear', 'tags'] as const;

/** A cache in a transaction, and another node of the same cache. */
function bench(options: Partial<Parameters<typeof cacheParticipant>[0]> = {}) {
  const base = cacheBench();
  const { clock, shared, node } = base;
  const times = { leaseMs: 3_000, timeoutMs: 1_000 };
  const [cache, other] = [node({ tiers: [shared], ...times }), node({ tiers: [shared] })];
  const pages = cacheParticipant({ name: 'pages', cache, ...options });
  const begin = async () => {
    const transactionId = newTransactionId('order', 'unit');
    const context: BranchContext = {
      transactionId,
      branchId: `${transactionId}.1`,
      timeoutMs: 10_000,
      signal: new AbortController().signal,
      clock,
    };
    return { branch: await pages.enlist(context), branchId: context.branchId };
  };
  /** Begun with a delete of `key` and prepared. */
  const prepared = async () => {
    const { branch, branchId } = await begin();
    await branch.handle.delete('key');
    const vote = await branch.prepare();
    if (vote.vote !== 'yes') throw new Error(`voted ${vote.vote}`);
    return { branch, record: { branchId, evidence: vote.evidence } };
  };
  return { ...base, cache, other, pages, begin, prepared };
}

describe('a cache in a transaction', () => {
  test('removes and holds its keys at prepare: reads go to the source and store nothing', async () => {
    const { clock, cache, other, prepared } = bench();
    await cache.set('key', 'old');
    const { branch } = await prepared();
    await clock.advance(60_000);
    for (const one of [cache, other]) {
      expect(await one.get('key')).toBeUndefined();
      expect(await one.getOrLoad('key', () => 'uncommitted')).toBe('uncommitted');
      expect(await one.get('key')).toBeUndefined();
    }
    await branch.commit();
    expect(await other.getOrLoad('key', () => 'new')).toBe('new');
    expect(await cache.get('key')).toBe('new');
  });

  test('is read-only without keys, and refuses more after the transaction', async () => {
    const { begin } = bench();
    const { branch } = await begin();
    expect(await branch.prepare()).toEqual({ vote: 'read-only' });
    const ended = { code: 'BRANCH_ENDED' };
    await expect(branch.handle.delete('key')).rejects.toMatchObject(ended);
    await expect(branch.handle.invalidateTag('tag')).rejects.toMatchObject(ended);
  });

  test('is ended by commit and abort alike, any number of times, from any process', async () => {
    for (const verb of ['commit', 'abort'] as const) {
      const { clock, shared, node, cache, other, pages, prepared } = bench();
      const elsewhere = cacheParticipant({ name: 'pages', cache: node({ tiers: [shared] }) });
      await cache.set('key', 'old');
      const { branch, record } = await prepared();
      await elsewhere[verb](record);
      expect(await other.getOrLoad('key', () => 'new'), 'let go').toBe('new');
      expect(await other.get('key')).toBe('new');
      await branch[verb]();
      await pages[verb](record);
      expect(await other.get('key'), 'removed again').toBeUndefined();
      expect(await pages.recover()).toEqual([]);
      await clock.advance(10_000);
      expect(await other.getOrLoad('key', () => 'kept')).toBe('kept');
      expect(await cache.get('key')).toBe('kept');
    }
  });

  test('of a process that died holds its keys for leaseMs, and abort needs no evidence', async () => {
    const { clock, shared, node, cache, other, pages, prepared } = bench();
    const { record } = await prepared();
    // Its process is gone: nobody renews. The participant of another one knows nothing of the keys.
    await clock.runUntil(cache.close());
    const elsewhere = cacheParticipant({ name: 'pages', cache: node({ tiers: [shared] }) });
    await elsewhere.abort({ ...record, evidence: '' });
    expect(await other.getOrLoad('key', () => 'value')).toBe('value');
    expect(await other.get('key'), 'still held').toBeUndefined();
    await clock.advance(3_000);
    await other.getOrLoad('key', () => 'value');
    expect(await other.get('key')).toBe('value');
    await expect(pages.commit(record)).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('invalidates by tag after the commit', async () => {
    const { cache, other, begin } = bench();
    const { branch } = await begin();
    await branch.handle.invalidateTag('shoes');
    await branch.prepare();
    await cache.set('key', 'old', { tags: ['shoes'] });
    expect(await other.get('key')).toBe('old');
    await branch.commit();
    expect(await other.get('key')).toBeUndefined();
  });

  test('votes no under a fencing token that is older than one the key has seen', async () => {
    const { clock, node } = cacheBench();
    const shared = sharedMemory(clock, { fences: true });
    const cache = node({ tiers: [shared] });
    await cache.set('key', 'value', { fencingToken: 7n });
    const pages = cacheParticipant({ name: 'pages', cache });
    const transactionId = newTransactionId('order', 'unit');
    const { signal } = new AbortController();
    const branchId = `${transactionId}.1`;
    const branch = await pages.enlist({ transactionId, branchId, timeoutMs: 1_000, signal, clock });
    await branch.handle.delete('key', { fencingToken: 6n });
    expect(await branch.prepare()).toMatchObject({ vote: 'no', cause: { code: 'FENCE_STALE' } });
    await branch.abort();
    expect(await cache.getOrLoad('key', () => 'x'), 'nothing is held').toBeDefined();
  });

  test('refuses what is no key, and more than a commit record should carry', async () => {
    const { begin } = bench();
    const { branch } = await begin();
    const invalid = { code: 'INVALID_ARGUMENT' };
    await expect(branch.handle.delete('')).rejects.toMatchObject(invalid);
    const long = 'x'.repeat(1_000);
    const all = Array.from({ length: 40 }, (_, i) => branch.handle.delete(`${i} ${long}`));
    expect((await Promise.allSettled(all)).at(-1)).toMatchObject({ reason: invalid });
    const wrong = [{ name: 'a b' }, { cache: {} }, { onUnreachable: 'x' }, { forgetAfterMs: -1 }];
    for (const bad of wrong) {
      const { cache } = bench();
      const options = { name: 'pages', cache, ...bad } as never;
      expect(() => cacheParticipant(options)).toThrow(expect.objectContaining(invalid));
    }
  });
});

describe('a cache in a transaction whose tier cannot be reached', () => {
  test('at prepare votes no, or yes without a hold with `proceed`', async () => {
    for (const [onUnreachable, vote] of [
      ['abort', 'no'],
      ['proceed', 'yes'],
    ] as const) {
      const { clock, shared, begin } = bench({ onUnreachable });
      const { branch } = await begin();
      await branch.handle.delete('key');
      shared.fail(...WRITES);
      expect(await clock.runUntil(branch.prepare())).toMatchObject({ vote });
    }
  });

  test('at commit rejects until it is back, and invalidates then', async () => {
    const { clock, shared, other, pages, prepared } = bench();
    const { branch, record } = await prepared();
    shared.fail(...WRITES);
    const unreachable = { code: 'CACHE_TIER_UNREACHABLE' };
    await expect(clock.runUntil(branch.commit())).rejects.toMatchObject(unreachable);
    await expect(clock.runUntil(pages.commit(record))).rejects.toMatchObject(unreachable);
    shared.thaw();
    await pages.commit(record);
    expect(await other.getOrLoad('key', () => 'new')).toBe('new');
    expect(await other.get('key')).toBe('new');
  });

  test('is done when what it was to remove has ended by itself: a dead cache pins no record', async () => {
    const { clock, shared, pages, prepared } = bench();
    const { record } = await prepared();
    shared.fail(...WRITES);
    await clock.advance(58_000);
    await expect(clock.runUntil(pages.commit(record))).rejects.toMatchObject({
      code: 'CACHE_TIER_UNREACHABLE',
    });
    await clock.advance(2_000);
    await clock.runUntil(pages.commit(record));
  });

  test('keeps nothing back that only waits in this process: a commit is not acknowledged for it', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ tiers: [shared], deferredInvalidation: true, timeoutMs: 1_000 });
    const pages = cacheParticipant({ name: 'pages', cache });
    shared.fail(...WRITES);
    const evidence = JSON.stringify([1, clock.wallMs(), ['key'], []]);
    const commit = pages.commit({ branchId: 'b.1', evidence });
    await expect(clock.runUntil(commit)).rejects.toMatchObject({ code: 'CACHE_TIER_UNREACHABLE' });
  });

  test.each([
    ['[2,"newer"]', 'UPGRADE_NEEDED'],
    ['', 'DATA_CORRUPT'],
    ['[1,0,["key"],[7]]', 'DATA_CORRUPT'],
    ['{"not":"ours"}', 'DATA_CORRUPT'],
  ])('refuses the evidence %j with %s', async (evidence, code) => {
    const { pages } = bench();
    await expect(pages.commit({ branchId: 'b.1', evidence })).rejects.toMatchObject({ code });
  });
});

describe('a coordinator with a cache among its participants', () => {
  test('commits the cache after every other branch, and leaves it when one of those is left', async () => {
    const { clock, cache, pages } = bench();
    const order: string[] = [];
    let failuresLeft = 2;
    const prices = functionParticipant({
      name: 'prices',
      barrier: memoryBarrier(),
      prepare: () => {},
      async commit() {
        failuresLeft -= 1;
        if (failuresLeft >= 0) throw new Error('not yet');
        order.push('prices');
      },
      abort: () => {},
    });
    const watched: typeof pages = {
      ...pages,
      async enlist(context) {
        const branch = await pages.enlist(context);
        const commit = async (): Promise<void> => {
          order.push('pages');
          await branch.commit();
        };
        return { ...branch, commit };
      },
      async commit(record, call) {
        order.push('pages again');
        await pages.commit(record, call);
      },
    };
    const coordinator = createTransactionCoordinator({
      log: memoryTransactions(),
      participants: [prices, watched],
      sweepMs: 50,
    });
    const change = () =>
      coordinator.run({ resourceId: 'sku:1' }, async (tx) => {
        await (await tx.enlist(watched)).delete('key');
        await (await tx.enlist(prices)).request({});
      });
    const first = await change();
    expect(first.state).toBe('committed');
    expect(order, 'prices are not committed, so the cache is not').toEqual([]);
    expect(await cache.getOrLoad('key', () => 'old'), 'held').toBe('old');
    expect(await cache.get('key')).toBeUndefined();
    await expect.poll(() => order).toEqual(['prices', 'pages']);
    order.length = 0;
    await change();
    expect(order).toEqual(['prices', 'pages']);
    order.length = 0;
    // More than a process tries by itself: the sweep keeps the order too.
    failuresLeft = 6;
    await change();
    await expect.poll(() => order, { timeout: 10_000 }).toEqual(['prices', 'pages again']);
    await coordinator.close();
    await cache.getOrLoad('key', () => 'new');
    expect(await cache.get('key')).toBe('new');
    expect(clock.keepAliveCount).toBe(0);
  });
});

describe('the guarantees of a cache that takes part', () => {
  test('claim nothing of the tier, which is not asked, unless somebody vouches for it', async () => {
    const cache = cacheBench().node();
    const given = await cacheParticipant({ name: 'pages', cache }).guarantees();
    expect(given.survives).toBe('none');
    expect(given.warnings).toEqual([expect.stringContaining('shared is not asked what it keeps')]);
    const vouched = cacheParticipant({ name: 'pages', cache, survives: 'failover' });
    expect(await vouched.guarantees()).toMatchObject({ survives: 'failover', warnings: [] });
    const survives = 'everything' as 'none';
    expect(() => cacheParticipant({ name: 'pages', cache, survives })).toThrow(/one of none, /);
  });
});

// The handle's type is part of what users see.
const _handle: (handle: CacheBranch) => Promise<void> = (handle) => handle.delete('key');
void _handle;
