import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import type { CacheTierFailedEvent } from '../../../src/index.js';
import { plant } from './shared-memory.js';
import { cacheBench, heldLoader } from './support.js';

describe('a shared tier that does not answer', () => {
  test('costs a cold read its tier time, then the loader answers', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ hardTimeoutMs: 300 });
    shared.freeze('read', 'lease', 'fill', 'renew', 'release');
    const begun = clock.monotonicMs();
    expect(await clock.runUntil(cache.getOrLoad('key', () => 'source'))).toBe('source');
    expect(clock.monotonicMs() - begun).toBe(300);
    expect(cache.peek('key'), 'kept in memory meanwhile').toBe('source');
    expect(cache.stats().tiers[1]).toMatchObject({ failureCount: 1, missCount: 1 });
  });

  test('but throws at once is a tier that fails: its readers go on, and the cache can close', async () => {
    const { clock, shared, node } = cacheBench();
    const open = shared.open.bind(shared);
    const throwing: typeof shared = {
      ...shared,
      open: (given) => ({
        ...open(given),
        read() {
          throw new Error('thrown at once');
        },
      }),
    };
    const cache = node({ tiers: [throwing] });
    expect(await cache.get('key')).toBeUndefined();
    expect(await clock.runUntil(cache.getOrLoad('key', () => 'source'))).toBe('source');
    expect(cache.stats().tiers[0]).toMatchObject({ failureCount: 2, missCount: 2 });
    await cache.close();
  });

  test('at the lease or at the fill costs no more than its tier time again', async () => {
    for (const operation of ['lease', 'fill'] as const) {
      const { clock, shared, node } = cacheBench();
      const cache = node({ hardTimeoutMs: 300 });
      shared.freeze(operation);
      const begun = clock.monotonicMs();
      expect(await clock.runUntil(cache.getOrLoad('key', () => 'source'))).toBe('source');
      expect(clock.monotonicMs() - begun).toBe(300);
    }
  });

  test.each(['lease', 'fill'] as const)(
    'that was slow to read has only the rest of its time for the %s',
    async (next) => {
      const { clock, shared, node } = cacheBench();
      const cache = node({ hardTimeoutMs: 300 });
      shared.freeze(next);
      shared.after = (operation) =>
        operation === 'read'
          ? new Promise<void>((resolve) => clock.schedule(200, resolve))
          : undefined;
      expect(await clock.runUntil(cache.getOrLoad('key', () => 'source'))).toBe('source');
      expect(clock.monotonicMs()).toBe(300);
    },
  );

  test('makes get answer undefined in its time, and tells on the channel', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ hardTimeoutMs: 300 });
    const events: unknown[] = [];
    const listen = (event: unknown): void => {
      events.push(event);
    };
    subscribe('tricord:cache.tier-failed', listen);
    shared.freeze('read');
    expect(await clock.runUntil(cache.get('key'))).toBeUndefined();
    unsubscribe('tricord:cache.tier-failed', listen);
    expect(clock.monotonicMs()).toBe(300);
    const expected: Partial<CacheTierFailedEvent> = {
      cache: 'bench',
      tier: 'shared',
      operation: 'read',
      key: 'key',
    };
    expect(events).toMatchObject([expected]);
  });

  test('is told to writers within their time, with the keys', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ timeoutMs: 2_000 });
    await cache.set('key', 'old');
    shared.fail('seize', 'invalidate', 'hold', 'clear');
    const error = { code: 'CACHE_TIER_UNREACHABLE', details: { tier: 'shared', keys: ['key'] } };
    for (const write of [() => cache.set('key', 'new'), () => cache.delete('key')]) {
      const begun = clock.monotonicMs();
      await expect(clock.runUntil(write())).rejects.toMatchObject(error);
      expect(clock.monotonicMs() - begun).toBeLessThanOrEqual(2_000);
      expect(cache.peek('key'), 'no copy of it is trusted').toBeUndefined();
    }
    await expect(clock.runUntil(cache.clear())).rejects.toMatchObject({
      code: 'CACHE_TIER_UNREACHABLE',
      details: { keys: [] },
    });
    const both = cache.setMany([
      ['a', '1'],
      ['b', '2'],
    ]);
    await expect(clock.runUntil(both)).rejects.toMatchObject({ details: { keys: ['a', 'b'] } });
  });

  test('that comes back within a writer’s time is written to', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ tiers: [shared] });
    shared.fail('seize');
    const write = cache.set('key', 'value');
    await clock.advance(100);
    shared.thaw();
    await clock.runUntil(write);
    expect(await cache.get('key')).toBe('value');
  });

  test('lets no update commit before the key is held, and tells when it is after', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    let commits = 0;
    const commit = () => {
      commits += 1;
      shared.fail('invalidate');
      return 'done';
    };
    shared.fail('hold');
    await expect(clock.runUntil(cache.update('key', commit))).rejects.toMatchObject({
      code: 'CACHE_TIER_UNREACHABLE',
      details: { keys: ['key'], isCommitted: false },
    });
    expect(commits).toBe(0);
    shared.thaw();
    await expect(clock.runUntil(cache.update('key', commit))).rejects.toMatchObject({
      code: 'CACHE_TIER_UNREACHABLE',
      details: { keys: ['key'], isCommitted: true },
    });
    expect(commits).toBe(1);
  });
});

describe('an update', () => {
  test('whose commit fails rethrows that error and invalidates all the same', async () => {
    const { shared, node } = cacheBench();
    const cache = node();
    await cache.set('key', 'old');
    const failure = new Error('constraint');
    await expect(cache.update('key', () => Promise.reject(failure))).rejects.toBe(failure);
    expect(shared.count('invalidate')).toBe(1);
    expect(await cache.getOrLoad('key', () => 'current')).toBe('current');
    expect(await cache.get('key')).toBe('current');
  });

  test('is not answered from memory meanwhile, by a read that was under way when it began', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    await cache.set('key', 'old');
    await clock.advance(10_000);
    const later = (ms: number) => new Promise<void>((resolve) => void clock.schedule(ms, resolve));
    shared.before = (operation) => (operation === 'hold' ? later(100) : undefined);
    let read: unknown;
    const updating = cache.update('key', async () => {
      read = await cache.getOrLoad('key', () => 'source');
    });
    // The near copy is gone and the key is not held yet: this read finds the old value there.
    expect(await cache.get('key')).toBe('old');
    await clock.runUntil(updating);
    expect(read).toBe('source');
  });

  test('holds the key for as long as the commit takes', async () => {
    const { clock, node } = cacheBench();
    const [writer, reader] = [node({ leaseMs: 300 }), node()];
    const { calls, loader } = heldLoader<string>();
    const update = writer.update('key', () => loader({ signal: new AbortController().signal }));
    await clock.advance(5_000);
    expect(await reader.getOrLoad('key', () => 'uncommitted')).toBe('uncommitted');
    expect(reader.peek('key')).toBeUndefined();
    expect(await reader.get('key')).toBeUndefined();
    calls[0]?.resolve('done');
    expect(await update).toBe('done');
    expect(await reader.getOrLoad('key', () => 'new')).toBe('new');
    await Promise.all([writer.close(), reader.close()]);
    expect(clock.timerCount).toBe(0);
  });
});

describe('updates that overlap', () => {
  test('hold their key together until the last one has ended, whichever that is', async () => {
    for (const [firstIndex, secondIndex] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const { clock, node } = cacheBench();
      const [writer, reader] = [node({ leaseMs: 300 }), node()];
      const { calls, loader } = heldLoader<string>();
      const commit = () => loader({ signal: new AbortController().signal });
      const updates = [writer.update('key', commit), writer.update('key', commit)];
      await clock.advance(0);
      calls[firstIndex]?.resolve('first');
      expect(await updates[firstIndex]).toBe('first');
      await clock.advance(5_000);
      expect(await reader.getOrLoad('key', () => 'uncommitted')).toBe('uncommitted');
      expect(await reader.get('key'), 'nobody stores while one commits').toBeUndefined();
      calls[secondIndex]?.resolve('second');
      expect(await updates[secondIndex]).toBe('second');
      expect(await reader.getOrLoad('key', () => 'new')).toBe('new');
      expect(await reader.get('key')).toBe('new');
      await Promise.all([writer.close(), reader.close()]);
    }
  });
});

describe('the time of a call', () => {
  test('ends a read whose loader takes longer with CACHE_TIMEOUT, and aborts the loader', async () => {
    const { clock, node } = cacheBench();
    const cache = node();
    const { calls, loader } = heldLoader<string>();
    const read = cache.getOrLoad('key', loader, { timeoutMs: 700 });
    await expect(clock.runUntil(read)).rejects.toMatchObject({
      code: 'CACHE_TIMEOUT',
      retryable: true,
      details: { key: 'key', waitedMs: 700 },
    });
    expect(clock.monotonicMs()).toBe(700);
    expect(calls[0]?.signal.aborted).toBe(true);
  });

  test('that ends while a loaded value is being stored gives that value', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ timeoutMs: 700, hardTimeoutMs: 700 });
    shared.freeze('fill');
    const { calls, loader } = heldLoader<string>();
    const read = cache.getOrLoad('key', loader);
    await clock.advance(500);
    calls[0]?.resolve('loaded');
    expect(await clock.runUntil(read)).toBe('loaded');
    expect(clock.monotonicMs()).toBe(700);
  });
});

describe('an entry that this release cannot read', () => {
  test('of a newer format is UPGRADE_NEEDED to get, and left alone by getOrLoad', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    await plant(shared, clock, 'bench', 'key', '[3,"from the future"]');
    await expect(cache.get('key')).rejects.toMatchObject({
      code: 'UPGRADE_NEEDED',
      details: { found: '3', supported: '2' },
    });
    expect(await cache.getOrLoad('key', () => 'loaded')).toBe('loaded');
    await expect(node().get('key')).rejects.toMatchObject({ code: 'UPGRADE_NEEDED' });
  });

  test('because something else wrote it is removed and loaded again', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    await plant(shared, clock, 'bench', 'key', 'garbage');
    expect(await cache.getOrLoad('key', () => 'loaded')).toBe('loaded');
    expect(await node().get('key')).toBe('loaded');
  });
});

describe('close', () => {
  test('refuses new calls, waits for those in flight, then ends them with CLOSED', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    const { calls, loader } = heldLoader<string>();
    const read = cache.getOrLoad('key', loader, { timeoutMs: 60_000 });
    const ended = expect(read).rejects.toMatchObject({ code: 'CLOSED' });
    await clock.settle();
    const closing = cache.close({ drainMs: 1_000 });
    const closed = { code: 'CLOSED' };
    await expect(cache.get('key')).rejects.toMatchObject(closed);
    await expect(cache.getOrLoad('key', loader)).rejects.toMatchObject(closed);
    await expect(cache.set('key', 'x')).rejects.toMatchObject(closed);
    await expect(cache.delete('key')).rejects.toMatchObject(closed);
    await expect(cache.has('key')).rejects.toMatchObject(closed);
    expect(() => cache.peek('key')).toThrow(/closed/);
    await clock.runUntil(closing);
    expect(clock.monotonicMs()).toBe(1_000);
    await ended;
    expect(calls[0]?.signal.aborted).toBe(true);
    expect(shared.count('release'), 'the lease is given back').toBe(1);
    await cache.close();
    await clock.settle();
    expect(clock.keepAliveCount, 'nothing keeps the process').toBe(0);
  });
});
