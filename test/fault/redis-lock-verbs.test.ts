// Every verb of a lock whose reply is lost: the answer is true all the same, and nothing is left.

import type { Lease } from 'tricord';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ServerHandle } from '../servers/handle.js';
import { startRedis } from '../servers/provider.js';
import { freshPrefix, measured } from '../servers/shared.js';
import {
  aborted,
  elapsedSince,
  openLock,
  type StagedClientOptions,
  until,
} from './redis-lock-stage.js';

const CLIENTS: readonly (readonly [name: string, options: StagedClientOptions])[] = [
  ['a client at its defaults', {}],
  ['a client that never sends again', { autoResendUnfulfilledCommands: false }],
];
const TTL_MS = 30_000;
/** A cut, a reconnect and another send, on a busy machine; far below the TTL. */
const RECOVERY_MS_MAX = 2_000;

describe('a lost reply of any verb [redis]', () => {
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  for (const [name, client] of CLIENTS) {
    /** A lock behind a proxy that loses the next reply about the resource. */
    const stage = async () => {
      const proxy = await redis.proxy();
      const one = openLock(proxy.url, { client });
      const other = openLock(redis.url);
      const resource = freshPrefix('lost');
      await (await one.lock.acquire('warm')).release();
      return {
        one: one.lock,
        other: other.lock,
        resource,
        async lose<T>(verb: string, call: () => Promise<T>): Promise<T> {
          const lost = proxy.cutAfterForward(resource);
          const startedMs = performance.now();
          const answer = await call();
          const tookMs = elapsedSince(startedMs);
          await lost;
          measured(`lost reply of ${verb}, ${name}: ${tookMs.toFixed(0)} ms`);
          expect(tookMs).toBeLessThan(RECOVERY_MS_MAX);
          return answer;
        },
        async [Symbol.asyncDispose]() {
          await one[Symbol.asyncDispose]();
          await other[Symbol.asyncDispose]();
          await proxy[Symbol.asyncDispose]();
        },
      };
    };

    test(`lost reply: several resources are taken once (${name})`, async () => {
      await using s = await stage();
      const names = [`${s.resource}-1`, `${s.resource}-2`];
      const set = await s.lose('several', () => s.one.acquire(names, { ttlMs: TTL_MS }));
      for (const resource of names) {
        const { holders, waiters } = await s.other.inspect(resource);
        const tokens = holders.map(({ fencingToken }) => fencingToken);
        expect(tokens).toEqual([set.get(resource).fencingToken]);
        expect(waiters).toEqual([]);
      }
      expect(await set.release()).toBe('released');
      expect((await s.other.inspect(names[0] ?? '')).holders).toEqual([]);
    });

    test(`lost reply: a downgrade is done once, and the lease is held (${name})`, async () => {
      await using s = await stage();
      const writer = await s.one.acquire(s.resource, { ttlMs: TTL_MS });
      const reader = await s.lose('downgrade', () => writer.downgrade());
      expect(reader.isHeld).toBe(true);
      await using second = await s.other.acquire(s.resource, { mode: 'shared' });
      expect(second.fencingToken).toBe(reader.fencingToken);
      expect(await reader.release()).toBe('released');
    });

    test(`lost reply: a forced release ends the grant that it found, not the next one (${name})`, async () => {
      await using s = await stage();
      const victim = await s.other.acquire(s.resource, { ttlMs: TTL_MS });
      const next = s.other.acquire(s.resource, { ttlMs: TTL_MS });
      await using third = openLock(redis.url);
      const waiting = third.lock.acquire(s.resource, { ttlMs: TTL_MS });
      await until('a waiter', async () => {
        return (await s.other.inspect(s.resource)).waiters.length > 0;
      });
      const ended = await s.lose('forceRelease', () =>
        s.one.forceRelease(s.resource, { reason: 'a test' }),
      );
      expect(ended).toBe(1);
      expect(await aborted(victim.signal)).toMatchObject({
        code: 'LOCK_LOST',
        message: expect.stringContaining('a test'),
      });
      const winner = await Promise.race([next, waiting]);
      expect(winner.isHeld).toBe(true);
      await winner.extend(TTL_MS);
      for (const asked of [next, waiting]) asked.then((lease) => lease.release()).catch(() => {});
      await Promise.all([next, waiting]);
    });

    test(`lost reply: a renewal that took effect leaves the lease held (${name})`, async () => {
      await using s = await stage();
      const lease = await s.one.acquire(s.resource, { ttlMs: TTL_MS });
      const failure = await s.lose('renew', () => lease.extend(60_000).then(String, (e) => e));
      // Either it was sent again, or the caller was told that nobody knows.
      if (typeof failure !== 'string') expect(failure).toMatchObject({ code: 'RESULT_UNKNOWN' });
      expect(lease.isHeld).toBe(true);
      const { holders } = await s.other.inspect(s.resource);
      expect(holders[0]?.remainingMs).toBeGreaterThan(TTL_MS);
      expect(await lease.release()).toBe('released');
    });

    test(`lost reply: who looks is answered or told that nobody knows (${name})`, async () => {
      await using s = await stage();
      await using lease = await s.other.acquire(s.resource, { ttlMs: TTL_MS });
      const seen = await s.lose('inspect', () => s.one.inspect(s.resource).catch((e) => e));
      if ('holders' in seen) expect(seen.holders[0]?.fencingToken).toBe(lease.fencingToken);
      else expect(seen).toMatchObject({ code: 'RESULT_UNKNOWN' });
    });
  }

  test('readers in line share with a writer that becomes a reader, and the next writer waits for all of them', async () => {
    const nodes = Array.from({ length: 6 }, () => openLock(redis.url));
    const [first, last, ...others] = nodes.map(({ lock }) => lock);
    if (first === undefined || last === undefined) throw new Error('six are needed');
    const resource = freshPrefix('readers');
    const writer = await first.acquire(resource, { ttlMs: TTL_MS });
    const readers = others.map((lock) => lock.acquire(resource, { mode: 'shared' }));
    await until('the readers in line', async () => {
      return (await first.inspect(resource)).waiters.length === others.length;
    });
    const next = last.acquire(resource, { ttlMs: TTL_MS });
    await until('the writer in line', async () => {
      return (await first.inspect(resource)).waiters.length === others.length + 1;
    });
    const reader = await writer.downgrade();
    const leases: Lease[] = [];
    const shared = await Promise.all(readers);
    expect(new Set([reader, ...shared].map(({ fencingToken }) => fencingToken)).size).toBe(1);
    next.then((lease) => leases.push(lease));
    for (const lease of shared) await lease.release();
    expect(leases, 'one reader is left').toEqual([]);
    await reader.release();
    expect((await next).fencingToken).toBeGreaterThan(reader.fencingToken);
    await (await next).release();
    for (const node of nodes) await node[Symbol.asyncDispose]();
  });
});
