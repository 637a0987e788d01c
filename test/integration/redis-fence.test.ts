// The fence on Redis: the write of a holder that was overtaken never lands.

import assert from 'node:assert/strict';
import { Cluster, Redis } from 'ioredis';
import { createLock } from 'tricord';
import { redisFence, redisLock } from 'tricord/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ServerHandle, startRedis } from '../servers/provider.js';
import { freshPrefix, onServer } from '../servers/shared.js';
import { startFenceHolder } from './fence-holder.js';

const TTL_MS = 500;

const stale = (token: bigint, newest: bigint) => ({
  code: 'FENCE_STALE',
  details: { token, newest },
});

onServer('redis', 'redisFence', (redis) => {
  const client = new Redis(redis.url);
  const fence = redisFence({ client, namespace: freshPrefix('fence').replace(/:/g, '-') });
  afterAll(async () => {
    await fence.close();
    client.disconnect();
  });

  test('the late write of a holder that was paused past its lease is refused', async () => {
    const resource = freshPrefix('report');
    await using paused = startFenceHolder({ redisUrl: redis.url, resource, ttlMs: TTL_MS });
    const first = BigInt(await paused.line());
    assert.equal(await paused.write(), 'written');
    paused.child.kill('SIGSTOP');
    const lock = createLock({ driver: redisLock({ client }) });
    const lease = await lock.acquire(resource, { ttlMs: 10_000, waitMs: 10_000 });
    const token = lease.fencingToken ?? 0n;
    assert.ok(token > first);
    // The same namespace as the holder's own fence.
    await redisFence({ client }).write(resource, token, 'of the new holder');
    paused.child.kill('SIGCONT');
    assert.equal(await paused.write(), `FENCE_STALE ${first} < ${token}`);
    assert.equal(await client.get(resource), 'of the new holder');
    await lease.release();
    await lock.close();
  });

  test('tokens compare as numbers of any size, not as texts and not as floats', async () => {
    const key = freshPrefix('numbers');
    const rising = [0n, 9n, 10n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 64n, 10n ** 40n - 1n];
    for (const [index, token] of rising.entries()) {
      await fence.write(key, token, String(token));
      for (const older of rising.slice(0, index)) {
        await expect(fence.write(key, older, 'late')).rejects.toMatchObject(stale(older, token));
      }
    }
    assert.equal(await client.get(key), String(rising.at(-1)));
  });

  test('a decimal text is a token too, with leading zeros or without', async () => {
    const key = freshPrefix('text');
    await fence.write(key, '12', 'a');
    await fence.write(key, '0012', 'b');
    await expect(fence.write(key, '11', 'late')).rejects.toMatchObject(stale(11n, 12n));
    assert.equal(await client.get(key), 'b');
  });

  test('what is no token is refused before anything is sent', async () => {
    const key = freshPrefix('no-token');
    for (const token of [12, -1n, '', '1e3', '0x1', 10n ** 40n, null]) {
      const write = fence.write(key, token as never, 'x');
      await expect(write, String(token)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    assert.equal(await client.exists(key), 0);
  });

  test('one holder writes as often as it likes; delete removes and still fences', async () => {
    const key = freshPrefix('again');
    await fence.write(key, 5n, 'a');
    await fence.write(key, 5n, 'b', { ttlMs: 60_000 });
    assert.equal(await client.get(key), 'b');
    assert.ok((await client.pttl(key)) > 50_000);
    await fence.delete(key, 6n);
    assert.equal(await client.exists(key), 0);
    await expect(fence.write(key, 5n, 'late')).rejects.toMatchObject(stale(5n, 6n));
    await expect(fence.delete(key, 5n)).rejects.toMatchObject(stale(5n, 6n));
    assert.equal(await client.exists(key), 0);
  });

  test('advance fences without a value, and check changes nothing', async () => {
    const key = freshPrefix('guard');
    await fence.check(key, 7n);
    await fence.advance(key, 3n);
    await fence.check(key, 3n);
    await expect(fence.check(key, 2n)).rejects.toMatchObject(stale(2n, 3n));
    await expect(fence.advance(key, 2n)).rejects.toMatchObject(stale(2n, 3n));
    assert.equal(await client.exists(key), 0);
  });

  test('of many writers at once the newest token wins, whatever the order of arrival', async () => {
    const key = freshPrefix('race');
    const tokens = Array.from({ length: 64 }, (_, index) => BigInt((index * 37) % 64));
    await Promise.allSettled(tokens.map((token) => fence.write(key, token, String(token))));
    assert.equal(await client.get(key), '63');
  });

  test('a token is kept for ever by default, and for retainMs where it is given', async () => {
    const namespace = freshPrefix('retain').replace(/:/g, '-');
    const key = freshPrefix('kept');
    await redisFence({ client, namespace }).write(key, 1n, 'x');
    const [token = ''] = await client.keys(`tricord:${namespace}:fence:*`);
    assert.equal(await client.pttl(token), -1);
    await redisFence({ client, namespace, retainMs: 60_000 }).write(key, 1n, 'x');
    const leftMs = await client.pttl(token);
    assert.ok(leftMs > 50_000 && leftMs <= 60_000, `${leftMs} ms`);
  });

  test('a token in a newer format is not guessed at', async () => {
    const namespace = freshPrefix('newer').replace(/:/g, '-');
    const newer = redisFence({ client, namespace });
    await newer.advance('job', 1n);
    await client.set(`tricord:${namespace}:fence:{job}:job`, '2 something');
    await expect(newer.write('job', 5n, 'x')).rejects.toMatchObject({ code: 'UPGRADE_NEEDED' });
    await client.set(`tricord:${namespace}:fence:{job}:job`, 'junk');
    await expect(newer.write('job', 5n, 'x')).rejects.toMatchObject({ code: 'DATA_CORRUPT' });
  });

  test("the client's keyPrefix stands before the value's key, and fences are apart", async () => {
    const prefixed = new Redis(redis.url, { keyPrefix: 'app:' });
    const key = freshPrefix('prefixed');
    const other = redisFence({ client: prefixed });
    await other.write(key, 9n, 'x');
    assert.equal(await client.get(`app:${key}`), 'x');
    await redisFence({ client }).write(key, 1n, 'y');
    await expect(other.write(key, 8n, 'late')).rejects.toMatchObject(stale(8n, 9n));
    await other.close();
    prefixed.disconnect();
  });
});

const CLUSTER = { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' };

// One node with all slots refuses a command that crosses slots just as many nodes do.
describe('redisFence on a cluster [redis]', () => {
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis({ config: CLUSTER });
    const client = new Redis(redis.url);
    await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    while (!(await client.cluster('INFO')).includes('cluster_state:ok')) await client.ping();
    client.disconnect();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  test.each([
    ['', 'plain'],
    ['', 'a key of 100 %: naïve'],
    ['', '{shop}:stock:7'],
    ['', 'a{b}c{d}'],
    ['', '{}empty'],
    ['app:', 'plain'],
    ['{app}:', 'plain{x}'],
  ])('with keyPrefix %j the token of %j is in the slot of its value', async (keyPrefix, key) => {
    const options = keyPrefix === '' ? {} : { keyPrefix };
    const client = new Cluster([{ host: redis.host, port: redis.port }], options);
    const fence = redisFence({ client });
    if (key === '{}empty') {
      const refused = { code: 'INVALID_ARGUMENT', argument: 'key' };
      await expect(fence.write(key, 2n, 'x')).rejects.toMatchObject(refused);
    } else {
      await fence.write(key, 2n, 'x');
      await expect(fence.write(key, 1n, 'late')).rejects.toMatchObject(stale(1n, 2n));
      assert.equal(await client.get(key), 'x');
    }
    await fence.close();
    client.disconnect();
  });
});
