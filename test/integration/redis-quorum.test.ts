// The scripts of the quorum lock on real nodes, and what users see of a lock on them.

import { Redis } from 'ioredis';
import { createLock, isCoordinationError, type Lock } from 'tricord';
import { redisQuorumLock } from 'tricord/redis';
import { afterAll, describe, expect, test } from 'vitest';
import { FORCE } from '../../src/drivers/redis/quorum/force.js';
import { LEAVE } from '../../src/drivers/redis/quorum/leave.js';
import { RENEW } from '../../src/drivers/redis/quorum/renew.js';
import { VOTE } from '../../src/drivers/redis/quorum/vote.js';
import { WRITE_BACK } from '../../src/drivers/redis/quorum/write-back.js';
import { startRedis } from '../servers/provider.js';
import { freshPrefix } from '../servers/shared.js';

describe('redisQuorumLock in detail [redis]', async () => {
  const servers = await Promise.all([startRedis(), startRedis(), startRedis()]);
  const opened: (() => Promise<unknown>)[] = [
    () => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())),
  ];
  afterAll(async () => {
    for (const close of opened.reverse()) await close();
  });

  function newClients(): Redis[] {
    const clients = servers.map(({ url }) => new Redis(url));
    opened.push(async () => {
      for (const client of clients) client.disconnect();
    });
    return clients;
  }

  function newLock(namespace: string, clients: readonly Redis[] = newClients()): Lock {
    const lock = createLock({ driver: redisQuorumLock({ clients, namespace }) });
    opened.push(() => lock.close({ drainMs: 0 }));
    return lock;
  }

  /** Node 1 in service, with the key of a resource; scripts are sent by hand. */
  async function node() {
    const namespace = freshPrefix('scripts');
    const lock = newLock(namespace);
    await (await lock.acquire('warm up')).release();
    const [client] = newClients() as [Redis];
    const marker = `tricord:${namespace}:quorum:node`;
    const key = `tricord:${namespace}:quorum:{stock}`;
    const run = (script: { lua: string }, keys: string[], ...values: (string | number)[]) =>
      client.eval(script.lua, keys.length, ...keys, ...values);
    return {
      client,
      key,
      marker,
      vote: (id: string, round = 1, ttlMs = 10_000) =>
        run(
          VOTE,
          [key, marker],
          id,
          round,
          ttlMs,
          0,
          60_000,
          'nonce',
          '',
          0,
          'someone',
          'owner of it',
        ),
      write: (id: string, first: string, last = first) =>
        run(WRITE_BACK, [key, marker], id, 60_000, 'nonce', first, last),
      force: (reason: string) => run(FORCE, [key], reason, 60_000),
      leave: (id: string, buryMs = 0) => run(LEAVE, [key], id, buryMs, 1),
      renew: (id: string, token: string) =>
        run(RENEW, [marker, key], 60_000, 'nonce', id, 10_000, 0, token, token, 'someone', 'owner'),
    };
  }

  test('a vote that is sent again is told again, and does not begin anew', async () => {
    const { client, key, vote } = await node();
    expect(await vote('a.1')).toMatch(/^Y\|/);
    const stored = await client.hget(key, 'r');
    expect(await vote('a.1')).toMatch(/^Y\|/);
    expect(await client.hget(key, 'r')).toBe(stored);
    expect(await vote('b.1')).toMatch(/^B\|a\.1\|0\|/);
  });

  test('a write-back is refused where the vote is not held any more', async () => {
    const { client, key, vote, write, leave } = await node();
    await vote('a.1', 1, 20);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(await write('a.1', '9000000000000001')).toBe('L');
    await vote('b.1');
    expect(await write('a.1', '9000000000000001')).toBe('L');
    expect(await client.hget(key, 'r')).not.toContain('9000000000000001');
    expect(await write('b.1', '9000000000000001', '9000000000000010')).toBe('W|0');
    await leave('b.1');
    // Whole numbers of sixteen digits, and the whole block counts.
    expect(await vote('c.1')).toMatch(/^Y\|9000000000000010\|/);
  });

  test('a vote that comes after the release of its id, or after its own end, takes nothing', async () => {
    const { vote, write, leave } = await node();
    await vote('a.1');
    await write('a.1', '1');
    expect(await leave('a.1')).toBe('R');
    expect(await leave('a.1')).toBe('R');
    expect(await vote('a.1')).toBe('G');
    expect(await leave('b.1', 60_000)).toBe('N');
    expect(await vote('b.1')).toBe('G');
    expect(await vote('c.1')).toMatch(/^Y\|/);
  });

  test('a renewal takes up a node that forgot the grant, but never what another one has', async () => {
    const { client, key, vote, write, renew, leave } = await node();
    await vote('a.1');
    await write('a.1', '5000000000000000');
    await client.del(key);
    expect(await renew('a.1', '5000000000000000')).toEqual(['H|0']);
    expect(await vote('b.1')).toMatch(/^B\|a\.1\|5000000000000000\|/);
    await leave('a.1');
    expect(await vote('b.1')).toMatch(/^Y\|5000000000000000\|/);
    expect(await renew('a.1', '5000000000000000')).toEqual(['L|']);
    expect(await renew('c.1', '5000000000000000')).toEqual(['L|']);
  });

  test('a forced release outlasts the renewal of its victim, which is told why', async () => {
    const { vote, write, renew, force } = await node();
    await vote('a.1');
    await write('a.1', '5000000000000000');
    expect(await force('stuck')).toBe('F|a.1|5000000000000000');
    expect(await renew('a.1', '5000000000000000')).toEqual(['L|stuck']);
    expect(await vote('b.1')).toMatch(/^Y\|5000000000000000\|/);
  });

  test('a node that was flushed takes no part, and gives no vote', async () => {
    const { client, marker, key, vote, renew } = await node();
    await client.del(marker, key);
    expect(await vote('a.1')).toMatch(/^O\|60000\|f\|nonce$/);
    expect(await renew('a.1', '1')).toEqual([expect.stringMatching(/^O\|/)]);
    expect(await client.exists(key)).toBe(0);
  });

  test('a record and a marker of a newer format are refused, not misread', async () => {
    const { client, marker, key, vote } = await node();
    await client.hset(key, 'r', '2|something new');
    expect(await vote('a.1')).toMatch(/^V\|2\|something new/);
    await client.set(marker, '2|something new');
    expect(await vote('a.1')).toMatch(/^V\|2\|something new/);
  });

  test('every key of a resource goes by itself', async () => {
    const { client, key, vote } = await node();
    await vote('a.1');
    const leftMs = await client.pttl(key);
    expect(leftMs).toBeGreaterThan(3_600_000);
    expect(leftMs).toBeLessThan(3_700_000);
  });

  test('shared and counting requests, and a TTL above the longest, are refused by name', async () => {
    const lock = newLock(freshPrefix('modes'));
    const shared = lock.acquire('report', { mode: 'shared' });
    await expect(shared).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED' });
    const counting = lock.acquire('gateway', { permits: 1, capacity: 8 });
    await expect(counting).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED' });
    await expect(lock.acquire('stock', { ttlMs: 60_001 })).rejects.toThrow(/ttlMsMax/);
  });

  test('two clients of one server are refused: it would give its vote twice', async () => {
    const same = [1, 2, 3].map(() => new Redis(servers[0]?.url ?? ''));
    opened.push(async () => {
      for (const client of same) client.disconnect();
    });
    const lock = newLock(freshPrefix('twice'), same);
    const refused = await lock.acquire('stock').catch((error: unknown) => error);
    expect(isCoordinationError(refused, 'BACKEND_UNSUPPORTED')).toBe(true);
  });

  test('it works with keyPrefix, RESP2, auto-pipelining and lazyConnect', async () => {
    const prefixed = servers.map(
      ({ url }) =>
        new Redis(url, {
          keyPrefix: 'app {1}:',
          protocol: 2,
          enableAutoPipelining: true,
          lazyConnect: true,
        }),
    );
    opened.push(async () => {
      for (const client of prefixed) client.disconnect();
    });
    const namespace = freshPrefix('prefix');
    const [one, other] = [newLock(namespace, prefixed), newLock(namespace, prefixed)];
    const lease = await one.acquire('stock');
    const waits = other.acquire('stock');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const started = performance.now();
    await lease.release();
    await (await waits).release();
    // Woken by a message, not by the poll of a second.
    expect(performance.now() - started).toBeLessThan(400);
    const plain = newClients()[0] as Redis;
    expect(await plain.exists(`app {1}:tricord:${namespace}:quorum:{stock}`)).toBe(1);
  });
});
