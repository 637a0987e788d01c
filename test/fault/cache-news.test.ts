// Memory that writers keep coherent, on a bus that is killed, loses messages, or has a silent publisher.

import { connect, createServer, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { type Cache, createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';
import { redisCache } from 'tricord/redis';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { newsOfText, type PublishedNews } from '../../src/drivers/redis/cache-news-text.js';
import { freePort } from '../servers/ports.js';
import { startRedis } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

/** What is promised when messages are lost, and what a busy machine adds. */
const NOTICED_MS = 3_000 + 500;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function nodeOf(url: string, name: string): Cache<number> {
  const client = new Redis(url);
  client.on('error', () => {});
  const tiers = [memoryCache(), redisCache({ client, news: 'bus' })];
  const cache = createCache<number>({ name, tiers, ttlMs: 60_000, hardTimeoutMs: 500 });
  cleanups.push(() => cache.close({ drainMs: 0 }).then(() => client.disconnect()));
  return cache;
}

/** Until memory keeps what it reads, and goes on to: each first beat of another process empties it. */
async function settled(cache: Cache<number>, key: string): Promise<void> {
  let since = performance.now();
  const isKept = async (): Promise<boolean> => {
    if (cache.peek(key) === undefined) since = performance.now();
    await cache.get(key);
    return performance.now() - since > 1_300;
  };
  await expect.poll(isKept, { timeout: 10_000, interval: 10 }).toBe(true);
}

async function noticed(what: string, isNoticed: () => boolean): Promise<void> {
  const since = performance.now();
  await expect.poll(isNoticed, { timeout: 10_000, interval: 5 }).toBe(true);
  const tookMs = performance.now() - since;
  measured(`memory with news from writers: ${what} was noticed after ${tookMs.toFixed(0)} ms`);
  expect(tookMs).toBeLessThan(NOTICED_MS);
}

const FRAME = /\*3\r\n\$7\r\nmessage\r\n\$\d+\r\n[^\r]*\r\n\$\d+\r\n([^\r]*)\r\n/g;

/** A way to the server on which messages of pub/sub are lost, and nothing else. */
async function losingProxy(port: number) {
  let isLost: (news: PublishedNews) => boolean = () => false;
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}));
    near.pipe(far);
    far.on('data', (chunk) => {
      const kept = chunk.toString('latin1').replace(FRAME, (frame, text: string) => {
        const news = newsOfText(text);
        return news !== undefined && isLost(news) ? '' : frame;
      });
      near.write(Buffer.from(kept, 'latin1'));
    });
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  const ownPort = await freePort();
  await new Promise<void>((resolve) => server.listen(ownPort, '127.0.0.1', resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    url: `redis://127.0.0.1:${ownPort}`,
    lose(which: typeof isLost): void {
      isLost = which;
    },
  };
}

describe('memory that writers keep coherent [redis]', async () => {
  const redis = await startRedis();
  afterAll(() => redis[Symbol.asyncDispose]());

  test('a bus that is killed again and again leaves no old copy behind', async () => {
    const nodes = [1, 2, 3].map(() => nodeOf(redis.url, 'killed'));
    const admin = new Redis(redis.url);
    cleanups.push(() => admin.disconnect());
    const keys = Array.from({ length: 40 }, (_, index) => `key-${index}`);
    let value = 0;
    let kills = 0;
    for (let round = 0; round < 12; round += 1) {
      for (const key of keys) {
        value += 1;
        await nodes[value % 3]?.set(key, value);
        await nodes[(value + 1) % 3]?.get(key);
        if (value % 37 === 0) kills += Number(await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'));
      }
    }
    expect(kills).toBeGreaterThanOrEqual(12);
    for (const cache of nodes) await settled(cache, 'key-0');
    for (const key of keys) {
      const views = await Promise.all(nodes.map((cache) => cache.get(key)));
      expect(new Set(views).size, `${key}: ${views}`).toBe(1);
    }
  });

  test('a lost message, and the silence of all others, is noticed within three seconds', async () => {
    const proxy = await losingProxy(redis.port);
    const writer = nodeOf(redis.url, 'lost');
    const reader = nodeOf(proxy.url, 'lost');
    await writer.set('key', 1);
    await settled(reader, 'key');
    let lostCount = 0;
    proxy.lose(({ kind }) => {
      if (kind === 'change') lostCount += 1;
      return kind === 'change';
    });
    await writer.set('key', 2);
    await noticed('a lost message', () => reader.peek('key') !== 1);
    expect(lostCount).toBe(1);
    expect(await reader.get('key')).toBe(2);
    proxy.lose(() => true);
    await writer.set('key', 3);
    await noticed('a bus that brings nothing', () => reader.peek('key') !== 2);
    // It does not hear itself: nothing is kept.
    expect(await reader.get('key')).toBe(3);
    expect(reader.peek('key')).toBeUndefined();
    proxy.lose(() => false);
    await settled(reader, 'key');
    await writer.set('key', 4);
    await expect.poll(() => reader.peek('key'), { timeout: 1_000 }).not.toBe(3);
  });

  test('a publisher that stands still is noticed within three seconds, and heard again later', async () => {
    await using proxy = await redis.proxy();
    const writer = nodeOf(proxy.url, 'frozen');
    const reader = nodeOf(redis.url, 'frozen');
    await writer.set('key', 1);
    await settled(reader, 'key');
    proxy.freeze();
    // It may have died between the commit of its source and what it had to say of it.
    await noticed('a silent publisher', () => reader.peek('key') === undefined);
    expect(await reader.get('key')).toBe(1);
    expect(reader.peek('key'), 'the others are heard').toBe(1);
    proxy.thaw();
    const write = (): Promise<boolean> =>
      writer.set('key', 2).then(
        () => true,
        () => false,
      );
    await expect.poll(write, { timeout: 10_000 }).toBe(true);
    await expect.poll(() => reader.peek('key'), { timeout: 1_000 }).not.toBe(1);
    expect(await reader.get('key')).toBe(2);
  });
});
