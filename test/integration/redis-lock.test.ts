// What locks on Redis keep there, in every order of what can arrive, and how they refuse.

import { Redis } from 'ioredis';
import { createLock, lockId, systemClock, systemRandom } from 'tricord';
import { redisLock } from 'tricord/redis';
import { afterAll, expect, test } from 'vitest';
import { redisKeys } from '../../src/drivers/redis/keys.js';
import { ACQUIRE, ACQUIRE_PLAIN } from '../../src/drivers/redis/lock/acquire.js';
import { CANCEL } from '../../src/drivers/redis/lock/cancel.js';
import { HEARTBEAT } from '../../src/drivers/redis/lock/heartbeat.js';
import { RELEASE, RELEASE_PLAIN } from '../../src/drivers/redis/lock/release.js';
import { RENEW } from '../../src/drivers/redis/lock/renew.js';
import type { GrantRequest, LockBackend } from '../../src/lock/driver.js';
import { lockNode } from '../../src/lock/node.js';
import { freshPrefix, onServer } from '../servers/shared.js';

const TTL_MS = 30_000;
const TOMBSTONE_MS = 60_000;

type Verb = 'acquire' | 'heartbeat' | 'renew' | 'release' | 'cancel';

/** All orders of a list. */
function ordersOf<T>(list: readonly T[]): T[][] {
  if (list.length === 0) return [[]];
  return list.flatMap((first, index) =>
    ordersOf(list.filter((_, other) => other !== index)).map((rest) => [first, ...rest]),
  );
}

onServer('redis', 'the scripts of locks on Redis', (redis) => {
  const client = new Redis(redis.url);
  const namespace = freshPrefix('scripts');
  const keys = redisKeys('lock', namespace);
  afterAll(() => client.disconnect());

  let renewals = 0;
  const send = async (
    verb: Verb,
    resource: string,
    id: string,
    script = ACQUIRE_PLAIN,
  ): Promise<unknown> => {
    const key = keys.key(resource);
    const terms = `${TTL_MS},x,1,1,1,2000,3000,0,${TOMBSTONE_MS},AAAAAAAAAAA,${resource}@node`;
    switch (verb) {
      case 'acquire':
        return String(await client.eval(script.lua, 1, key, id, terms));
      case 'heartbeat':
        return client.eval(HEARTBEAT.lua, 1, key, id, TTL_MS);
      case 'renew':
        renewals += 1;
        return client.eval(RENEW.lua, 1, key, renewals, id, TTL_MS);
      case 'release':
        // As it is sent while an acquire is not answered: only then may one still arrive.
        return client.eval(RELEASE.lua, 1, key, id, TOMBSTONE_MS);
      case 'cancel':
        return client.eval(CANCEL.lua, 1, key, id, TOMBSTONE_MS);
    }
  };
  const releaseAnswered = (resource: string, id: string): Promise<unknown> =>
    client.eval(RELEASE_PLAIN.lua, 1, keys.key(resource), id);
  const HELD = /^(H\|\d+\||\d+$)/;
  const tokenOf = (reply: unknown): string => /\d+/.exec(String(reply))?.[0] ?? '';

  test('a copy of an acquire that comes after an ordinary release is refused, and the next one holds', async () => {
    for (const waiter of [false, true]) {
      const id = `copied.${waiter}`;
      expect(await send('acquire', 'copied', id)).toMatch(HELD);
      const next = `waiting.${waiter}`;
      if (waiter) await send('acquire', 'copied', next);
      await releaseAnswered('copied', id);
      expect(await send('acquire', 'copied', id)).toBe('G');
      expect(await send('acquire', 'copied', next)).toMatch(HELD);
      await send('release', 'copied', next);
    }
  });

  for (const ending of ['release', 'cancel'] as const) {
    test(`after a ${ending} the grant id is over, in whatever order the verbs arrive, once or twice`, async () => {
      const verbs: Verb[] = ['acquire', 'heartbeat', 'renew', ending];
      const orders = ordersOf(verbs);
      for (const [index, order] of orders.entries()) {
        const script = index % 2 === 0 ? ACQUIRE : ACQUIRE_PLAIN;
        for (const sends of [order, order.flatMap((verb) => [verb, verb]), [...order, ...order]]) {
          const resource = `${ending}-${index}-${sends.length}-${sends[1]}`;
          for (const verb of sends) await send(verb, resource, 'one.1', script);
          expect(await send('acquire', resource, 'other.1'), sends.join(' ')).toMatch(HELD);
          expect(await send('acquire', resource, 'one.1'), sends.join(' ')).toBe('G');
        }
      }
    });
  }

  test('an acquire sent twice is one grant with one token', async () => {
    const first = await send('acquire', 'twice', 'one.1');
    const second = await send('acquire', 'twice', 'one.1');
    expect(tokenOf(second)).toBe(tokenOf(first));
  });

  test('a release sent twice tells released twice, also when the next has it already', async () => {
    await send('acquire', 'release-twice', 'one.1');
    await send('acquire', 'release-twice', 'other.1');
    expect(await send('release', 'release-twice', 'one.1')).toBe(1);
    expect(await send('release', 'release-twice', 'one.1')).toBe(1);
    expect(await send('heartbeat', 'release-twice', 'other.1')).toEqual([
      expect.stringMatching(HELD),
    ]);
  });

  test('a release by a stranger ends nobody’s grant', async () => {
    await send('acquire', 'stranger', 'one.1');
    expect(await releaseAnswered('stranger', 'other.1')).toBe(0);
    expect(await send('release', 'stranger', 'other.1')).toBe(0);
    expect(await send('renew', 'stranger', 'one.1')).toEqual([expect.stringMatching(HELD)]);
  });

  test('a heartbeat and a renewal never put anybody anywhere', async () => {
    expect(await send('heartbeat', 'nobody', 'one.1')).toEqual(['G']);
    expect(await send('renew', 'nobody', 'one.1')).toEqual(['L']);
    expect(await client.exists(keys.key('nobody'))).toBe(0);
  });

  test('a hand-over is provisional until the waiter is heard from', async () => {
    await send('acquire', 'provisional', 'one.1');
    await send('acquire', 'provisional', 'other.1');
    await send('release', 'provisional', 'one.1');
    const written = String(await client.hget(keys.key('provisional'), 'r'));
    expect(written).toMatch(/,other\.1,2000,/);
    const [confirmed] = (await send('heartbeat', 'provisional', 'other.1')) as string[];
    expect(Number(confirmed?.split('|')[2])).toBe(TTL_MS);
  });

  test('tokens are whole numbers above the clock in µs, and above a fence that runs ahead', async () => {
    const nowUs = BigInt(Date.now()) * 1_000n;
    const token = async (id: string): Promise<string> =>
      tokenOf(await send('acquire', 'tokens', id));
    const fenceRunsAheadTo = async (fence: string): Promise<void> => {
      const record = String(await client.hget(keys.key('tokens'), 'r'));
      await client.hset(keys.key('tokens'), 'r', record.replace(/^1f\d{16}/, `1f${fence}`));
    };
    expect(BigInt(await token('one.1'))).toBeGreaterThan(nowUs - 60_000_000n);
    // Nothing is remembered but the fence: the fast path.
    await releaseAnswered('tokens', 'one.1');
    const fast = BigInt(await token('one.2'));
    expect(fast).toBeGreaterThan(nowUs - 60_000_000n);
    await releaseAnswered('tokens', 'one.2');
    expect(BigInt(await token('one.3'))).toBeGreaterThan(fast);
    await releaseAnswered('tokens', 'one.3');
    await fenceRunsAheadTo('9007199254740000');
    expect(await token('one.4')).toBe('9007199254740001');
    // With a tombstone about, the slow path.
    await send('release', 'tokens', 'one.4');
    expect(await token('one.5')).toBe('9007199254740002');
  });

  test('every key has a time to live', async () => {
    for (const key of await client.keys(`tricord:${namespace}:*`)) {
      expect(await client.pttl(key), key).toBeGreaterThan(0);
    }
  });
});

onServer('redis', 'locks on Redis', (redis) => {
  const client = new Redis(redis.url);
  const namespace = freshPrefix('locks');
  const keys = redisKeys('lock', namespace);
  const driver = redisLock({ client, namespace });
  const lock = createLock({ driver });
  const backend: LockBackend = driver.open(
    lockNode({ nodeId: 'modes', clock: systemClock, random: systemRandom }),
  );
  afterAll(async () => {
    await Promise.all([lock.close(), backend.close()]);
    client.disconnect();
  });
  const ask = (resource: string, changes: Partial<GrantRequest>) => {
    const owner = lockId(resource, 'modes');
    const request = { mode: 'exclusive', permits: 1, capacity: 1, tokens: 1, wait: false } as const;
    const signal = new AbortController().signal;
    return backend.acquire({ ...request, resource, owner, ttlMs: TTL_MS, signal, ...changes });
  };

  test('a record of a newer format is refused with UPGRADE_NEEDED and left as it is', async () => {
    await client.hset(keys.key('newer'), 'r', '2|something new');
    await expect(lock.acquire('newer')).rejects.toMatchObject({
      code: 'UPGRADE_NEEDED',
      details: { found: '2', supported: '1' },
    });
    await expect(lock.inspect('newer')).rejects.toMatchObject({ code: 'UPGRADE_NEEDED' });
    expect(await client.hgetall(keys.key('newer'))).toEqual({ r: '2|something new' });
    await client.del(keys.key('newer'));
  });

  test('what is no record is refused with DATA_CORRUPT', async () => {
    await client.set(keys.key('text'), 'text');
    await client.hset(keys.key('noise'), 'r', 'noise');
    for (const resource of ['text', 'noise']) {
      await expect(lock.acquire(resource), resource).rejects.toMatchObject({
        code: 'DATA_CORRUPT',
      });
    }
    await client.del(keys.key('text'), keys.key('noise'));
  });

  test('scripts that the server forgot are sent again', async () => {
    await (await lock.acquire('forgotten')).release();
    await client.script('FLUSH');
    const lease = await lock.acquire('forgotten');
    expect(await lease.release()).toBe('released');
  });

  test('a client that is not connected is BACKEND_UNAVAILABLE in time, and nothing is sent later', async () => {
    const offline = new Redis({ host: '127.0.0.1', port: 1, retryStrategy: () => 20 });
    offline.on('error', () => {});
    const unreachable = createLock({
      driver: redisLock({ client: offline, replyTimeoutMs: 200 }),
    });
    const startedMs = performance.now();
    await expect(unreachable.acquire('offline')).rejects.toMatchObject({
      code: 'BACKEND_UNAVAILABLE',
      retryable: true,
    });
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    expect(offline).toHaveProperty('offlineQueue.length', 0);
    await unreachable.close();
    offline.disconnect();
  });

  test('a closed client is told at once', async () => {
    const ended = new Redis(redis.url, { lazyConnect: true });
    ended.disconnect();
    const refused = createLock({ driver: redisLock({ client: ended }) });
    await expect(refused.acquire('ended')).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    await refused.close();
  });

  test('missing rights are BACKEND_UNSUPPORTED, with the setting to change', async () => {
    const name = freshPrefix('user');
    await client.acl('SETUSER', name, 'on', '>secret', '~*', '&*', '+@all', '-hset');
    const url = redis.url.replace('redis://', `redis://${name}:secret@`);
    const limited = new Redis(url);
    const refused = createLock({ driver: redisLock({ client: limited, namespace }) });
    await expect(refused.acquire('rights')).rejects.toMatchObject({
      code: 'BACKEND_UNSUPPORTED',
      details: { setting: 'ACL' },
    });
    await refused.close();
    limited.disconnect();
    await client.acl('DELUSER', name);
  });

  test('namespaces are worlds of their own', async () => {
    const other = createLock({ driver: redisLock({ client, namespace: `${namespace}-2` }) });
    await using lease = await lock.acquire('worlds');
    await using same = await other.acquire('worlds', { waitMs: 0 });
    expect(lease.isHeld && same.isHeld).toBe(true);
    await same.release();
    await other.close();
  });

  test('a database by number is a world of its own, also for who waits there', async () => {
    const clients = [1, 2].map((db) => new Redis(redis.url, { db }));
    const [one, other] = clients.map((inDb) =>
      createLock({ driver: redisLock({ client: inDb, namespace, heartbeatMs: 60_000 }) }),
    );
    if (one === undefined || other === undefined) throw new Error('two are needed');
    const same = createLock({ driver: redisLock({ client: clients[0] as Redis, namespace }) });
    await using lease = await one.acquire('numbered');
    await using elsewhere = await other.acquire('numbered', { waitMs: 0 });
    expect(lease.isHeld && elsewhere.isHeld).toBe(true);
    const waiting = same.acquire('numbered');
    await expect.poll(async () => (await one.inspect('numbered')).waiters.length).toBe(1);
    await lease.release();
    await (await waiting).release();
    await Promise.all([one, other, same].map((each) => each.close()));
    for (const inDb of clients) inDb.disconnect();
  });

  test('many who ask at the start look at the server once', async () => {
    const fresh = new Redis(redis.url);
    const starting = createLock({ driver: redisLock({ client: fresh, namespace }) });
    // The client looks too, before it is ready.
    await fresh.ping();
    let looks = 0;
    const { info } = fresh;
    fresh.info = ((...words: []) => {
      looks += 1;
      return info.apply(fresh, words);
    }) as typeof info;
    const asked = Array.from({ length: 50 }, (_, index) => starting.acquire(`start-${index}`));
    for (const lease of await Promise.all(asked)) await lease.release();
    expect(looks).toBe(1);
    await starting.close();
    fresh.disconnect();
  });

  test('guarantees warn of what this server would forget', async () => {
    const { survives, warnings, settings } = await backend.guarantees();
    expect(settings['maxmemory-policy']).toBe('noeviction');
    expect(survives).toBe(settings.appendonly === 'yes' ? 'process' : 'none');
    expect(warnings.join(' ')).toMatch(/restart/);
  });

  test('readers share with one token, and a writer comes after them with a higher one', async () => {
    const shared = { mode: 'shared', capacity: Number.POSITIVE_INFINITY } as const;
    const one = await ask('readers', shared);
    const two = await ask('readers', shared);
    expect(one?.fencingToken).toBe(two?.fencingToken);
    expect(await ask('readers', {})).toBeUndefined();
    const writer = ask('readers', { wait: true });
    await expect
      .poll(async () => (await backend.inspect('readers')).waiters.length)
      .toBeGreaterThan(0);
    expect(await ask('readers', shared), 'behind a waiting writer').toBeUndefined();
    for (const grant of [one, two]) if (grant !== undefined) await backend.release(grant);
    const granted = await writer;
    expect(granted?.fencingToken).toBeGreaterThan(one?.fencingToken ?? 0n);
    if (granted !== undefined) await backend.release(granted);
  });

  test('permits are counted, and another capacity is refused with both numbers', async () => {
    const counting = { mode: 'counting', capacity: 3 } as const;
    const two = await ask('permits', { ...counting, permits: 2 });
    expect(two?.fencingToken).toBeUndefined();
    expect(await ask('permits', { ...counting, permits: 2 })).toBeUndefined();
    const third = await ask('permits', counting);
    expect(third).toBeDefined();
    await expect(ask('permits', { ...counting, capacity: 4 })).rejects.toMatchObject({
      code: 'LOCK_CAPACITY_MISMATCH',
      details: { requested: 4, current: 3 },
    });
    for (const grant of [two, third]) if (grant !== undefined) await backend.release(grant);
  });
});
