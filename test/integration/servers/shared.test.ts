import { Redis } from 'ioredis';
import { Client } from 'pg';
import { expect, test } from 'vitest';
import { freshPrefix, onServer, sharedDatabase } from '../../servers/shared.js';

onServer('redis', 'the shared Redis', (redis) => {
  test('answers a client, directly and through a proxy', async () => {
    await using proxy = await redis.proxy();
    const key = freshPrefix();
    const direct = new Redis(redis.url);
    const proxied = new Redis(proxy.url);
    try {
      await direct.set(key, 'there', 'PX', 5_000);
      expect(await proxied.get(key)).toBe('there');
    } finally {
      direct.disconnect();
      proxied.disconnect();
    }
  });
});

onServer('zookeeper', 'the shared ZooKeeper', (zookeeper) => {
  test('tells its version', () => {
    expect(zookeeper.version).toMatch(/^3\.\d+\.\d+$/);
  });
});

onServer('postgresql', 'the shared PostgreSQL', () => {
  test('makes databases that allow prepared transactions', async () => {
    const client = new Client({
      connectionString: await sharedDatabase('orders'),
    });
    await client.connect();
    const { rows } = await client.query('show max_prepared_transactions');
    await client.end();
    expect(Number(rows[0].max_prepared_transactions)).toBeGreaterThan(0);
  });
});
