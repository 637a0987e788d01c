// The verbs of locks on Redis beyond acquire and release, one send at a time: repeated, late, and in
// any order. Each script is sent by hand, so that what arrives when is the test's to say.

import { Redis } from 'ioredis';
import { seededRandom } from 'tricord';
import { afterAll, expect, test } from 'vitest';
import { freshPrefix, onServer } from '../servers/shared.js';
import { RECORD, scriptStage, type Terms, TTL_MS } from './redis-lock-script-stage.js';

const HELD = /^(H\|\d+\||h\d+$)/;
const QUEUED = /^Q\|/;
const tokenOf = (reply: unknown): bigint => BigInt(/\d+/.exec(String(reply))?.[0] ?? 0);
const leftMsOf = (reply: unknown): number => Number(String(reply).split('|')[2]);
const READER: Terms = { mode: 's' };
const of3 = (permits: number): Terms => ({ mode: 'c', capacity: 3, permits });

onServer('redis', 'the verbs of locks on Redis', (redis) => {
  const client = new Redis(redis.url);
  const namespace = freshPrefix('verbs');
  const stage = scriptStage(client, namespace);
  afterAll(() => client.disconnect());

  test('a late copy of a shorter renewal does not shorten the lease', async () => {
    await stage.acquire('late', 'a.1', { ttlMs: 1_000 });
    await stage.renew('late', 'a.1', 1_000, 1);
    await stage.renew('late', 'a.1', 60_000, 2);
    const reply = await stage.renew('late', 'a.1', 1_000, 1);
    expect(leftMsOf(reply)).toBeGreaterThan(50_000);
    // A newer renewal may ask for less.
    expect(leftMsOf(await stage.renew('late', 'a.1', 1_000, 3))).toBeLessThanOrEqual(1_000);
  });

  test('a late copy of an acquire or of a heartbeat does not shorten what was renewed', async () => {
    await stage.acquire('copy', 'a.1');
    await stage.renew('copy', 'a.1', 90_000);
    expect(leftMsOf(await stage.acquire('copy', 'a.1'))).toBeGreaterThan(80_000);
    expect(leftMsOf(await stage.heartbeat('copy', 'a.1'))).toBeGreaterThan(80_000);
  });

  test('a late copy of an acquire does not undo a downgrade', async () => {
    await stage.acquire('undone', 'a.1');
    await stage.downgrade('undone', 'a.1');
    await stage.acquire('undone', 'a.1');
    expect(await stage.acquire('undone', 'b.1', READER)).toMatch(HELD);
  });

  test('a downgrade is once, however often it is sent, and serves the readers at the head of the line', async () => {
    const writer = tokenOf(await stage.acquire('down', 'a.1', { tokens: 5 }));
    const reserved = tokenOf(await stage.reserve('down', 'a.1', 10));
    for (const id of ['b.1', 'c.1']) await stage.acquire('down', id, READER);
    await stage.acquire('down', 'd.1');
    await stage.acquire('down', 'e.1', READER);
    const first = await stage.downgrade('down', 'a.1');
    const again = await stage.downgrade('down', 'a.1');
    expect(first).toMatch(HELD);
    expect(tokenOf(again)).toBe(tokenOf(first));
    const { holders, line } = await stage.read('down');
    expect(holders.map(({ id }) => id)).toEqual(['a.1', 'b.1', 'c.1']);
    expect(new Set(holders.map(({ fence }) => fence)).size, 'one epoch').toBe(1);
    expect(line, 'nobody overtakes the writer').toEqual(['d.1', 'e.1']);
    expect(tokenOf(first)).toBe(reserved + 9n);
    expect(tokenOf(first)).toBeGreaterThanOrEqual(writer + 4n);
    for (const { id } of holders) await stage.release('down', id);
    expect(tokenOf(await stage.heartbeat('down', 'd.1'))).toBeGreaterThan(tokenOf(first));
  });

  test('a downgrade of what has ended, and of permits, is lost', async () => {
    expect(await stage.downgrade('nothing', 'a.1')).toBe('L');
    await stage.acquire('some', 'a.1', of3(1));
    expect(await stage.downgrade('some', 'a.1')).toBe('L');
  });

  test('several resources are taken together or not at all, and a second send is the first', async () => {
    const resources = ['all-1', 'all-2', 'all-3'];
    const ids = ['a.1', 'a.2', 'a.3'];
    await stage.acquire('all-2', 'b.1');
    expect(await stage.acquireAll(resources, ids)).toEqual(['B']);
    for (const resource of ['all-1', 'all-3']) {
      expect(await stage.read(resource)).toMatchObject({ holders: [], line: [] });
    }
    expect((await stage.read('all-2')).line, 'nobody was put in line').toEqual([]);
    await stage.release('all-2', 'b.1');
    const first = (await stage.acquireAll(resources, ids)) as unknown[];
    const again = (await stage.acquireAll(resources, ids)) as unknown[];
    expect(first).toEqual(Array(3).fill(expect.stringMatching(HELD)));
    expect(again.map(tokenOf)).toEqual(first.map(tokenOf));
    await stage.release('all-1', 'a.1');
    expect(await stage.acquireAll(resources, ids), 'not whole any more').toEqual(['G']);
  });

  test('several resources do not overtake who waits for one of them', async () => {
    await stage.acquire('queue-1', 'a.1', READER);
    await stage.acquire('queue-1', 'b.1');
    const answer = stage.acquireAll(['queue-0', 'queue-1'], ['c.1', 'c.2'], READER);
    expect(await answer).toEqual(['B']);
    expect(await stage.acquireAll(['queue-1'], ['d.1'], of3(1))).toEqual(['C|1|1']);
  });

  test('an order to release by force ends what it found and nothing later, however often it is sent', async () => {
    await stage.acquire('forced', 'a.1', { delayMs: 60_000 });
    await stage.acquire('forced', 'b.1');
    expect(await stage.force('forced', 'order.1', 'because')).toBe('T|1');
    expect((await stage.read('forced')).holders.map(({ id }) => id)).toEqual(['b.1']);
    expect(await stage.force('forced', 'order.1', 'because')).toBe('T|1');
    expect(await stage.heartbeat('forced', 'b.1')).toMatch(HELD);
    expect(await stage.renew('forced', 'a.1'), 'the victim is told why').toBe('F|because');
    expect(await stage.acquire('forced', 'a.1')).toBe('G');
    expect(await stage.release('forced', 'a.1')).toBe(0);
    expect(await stage.force('forced', 'order.2', '')).toBe('T|1');
    expect(await stage.renew('forced', 'b.1')).toBe('L');
    expect(await stage.acquire('forced', 'c.1')).toMatch(HELD);
    expect(await stage.force('idle', 'order.3', 'x'), 'nobody holds it').toBe('T|0');
    await stage.acquire('idle', 'a.1');
    expect(await stage.force('idle', 'order.3', 'x')).toBe('T|0');
    expect(await stage.renew('idle', 'a.1')).toMatch(HELD);
  });

  test('a lock delay begins with the end of the TTL; a release and a cancel have none', async () => {
    const expire = (resource: string): Promise<void> =>
      stage.edit(resource, (record) => {
        const [, fence, ...rest] = (record[RECORD.holders] ?? '').split(',');
        record[RECORD.holders] = [Number(fence) - 2 * TTL_MS * 1_000, fence, ...rest].join(',');
      });
    for (const [resource, end] of [
      ['delay-release', stage.release],
      ['delay-cancel', stage.cancel],
    ] as const) {
      await stage.acquire(resource, 'a.1', { delayMs: 600_000 });
      await expire(resource);
      expect(await stage.renew(resource, 'a.1'), 'it has ended').toBe('L');
      expect(await stage.acquire(resource, 'a.1'), 'for its holder too').toBe('G');
      expect(await stage.acquire(resource, 'b.1')).toMatch(QUEUED);
      expect(await stage.heartbeat(resource, 'b.1')).toMatch(QUEUED);
      await end(resource, 'a.1');
      expect(await stage.heartbeat(resource, 'b.1')).toMatch(HELD);
    }
    await stage.acquire('no-delay', 'a.1');
    await expire('no-delay');
    expect(await stage.acquire('no-delay', 'b.1')).toMatch(HELD);
  });

  test('a reader who died leaves its delay to writers only', async () => {
    await stage.acquire('died', 'a.1', { ...READER, ttlMs: 1, delayMs: 600_000 });
    await expect.poll(() => stage.renew('died', 'a.1', 1)).toBe('L');
    expect(await stage.acquire('died', 'b.1', { wait: false })).toBe('B');
    expect(await stage.acquire('died', 'c.1', READER)).toMatch(HELD);
  });

  test('a server clock that was set back, or a fence far ahead, gives no token twice', async () => {
    const first = tokenOf(await stage.acquire('clock', 'a.1'));
    await stage.release('clock', 'a.1');
    const dayUs = 86_400_000_000n;
    // As if the clock had been a day ahead when the last grant was written.
    await stage.edit('clock', (record) => {
      record[RECORD.last] = String(first + dayUs);
    });
    const ahead = tokenOf(await stage.acquire('clock', 'a.2'));
    expect(ahead).toBe(first + dayUs + 1n);
    expect(
      await client.pttl(stage.keys.key('clock')),
      'kept until the clock is there',
    ).toBeGreaterThan(86_400_000);
    await stage.release('clock', 'a.2');
    expect(tokenOf(await stage.acquire('clock', 'a.3'))).toBe(ahead + 1n);
    await stage.release('clock', 'a.3');
    // As if a server that was far behind had written it.
    await stage.edit('clock', (record) => {
      record[RECORD.last] = '5';
    });
    expect(tokenOf(await stage.acquire('clock', 'a.4'))).toBeGreaterThan(first);
  });

  test('FLUSHALL between grants gives a higher token, and the old holder is lost', async () => {
    const first = tokenOf(await stage.acquire('flushed', 'a.1'));
    await client.del(stage.keys.key('flushed'));
    const next = tokenOf(await stage.acquire('flushed', 'b.1'));
    expect(next).toBeGreaterThan(first);
    expect(await stage.renew('flushed', 'a.1')).toBe('L');
    expect(await stage.release('flushed', 'a.1')).toBe(0);
    expect(await stage.heartbeat('flushed', 'c.1')).toBe('G');
  });

  test('a key lives for more than an hour after all that it holds, also when its expiry is not set anew', async () => {
    const key = stage.keys.key('fresh');
    await stage.acquire('fresh', 'a.1');
    await stage.release('fresh', 'a.1');
    const hourMs = 3_600_000;
    expect(await client.pttl(key)).toBeGreaterThan(2 * hourMs);
    // An hour later: the expiry is set anew by the next grant.
    await client.pexpire(key, hourMs + 500_000);
    await stage.edit('fresh', (record) => {
      record[RECORD.fresh] = '1000000000000000';
    });
    await stage.acquire('fresh', 'a.2');
    expect(await client.pttl(key)).toBeGreaterThan(2 * hourMs);
    await stage.renew('fresh', 'a.2', 24 * hourMs);
    expect(await client.pttl(key)).toBeGreaterThan(25 * hourMs);
  });

  test('waiters that died behind everybody else leave the line with the next one who joins', async () => {
    await stage.acquire('tail', 'a.1');
    await stage.acquire('tail', 'b.1');
    for (const id of ['c.1', 'd.1']) await stage.acquire('tail', id, { patienceMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 10));
    await stage.acquire('tail', 'e.1');
    expect((await stage.read('tail')).line).toEqual(['b.1', 'e.1']);
  });

  test('whatever is sent in whatever order: what is granted fits, the line is served in order, and no list breaks', async () => {
    const seed = Math.floor(performance.now() * 1_000) % 2 ** 31;
    console.log(`seed ${seed}`);
    const random = seededRandom(seed);
    const pick = <T>(list: readonly T[]): T =>
      list[Math.floor(random.fraction() * list.length)] as T;
    const kinds: readonly (readonly Terms[])[] = [
      [{}, READER, { tokens: 7 }],
      [of3(1), of3(2), of3(3)],
    ];
    for (let round = 0; round < 60; round += 1) {
      const resource = `random-${round}`;
      const kind = pick(kinds);
      const ids = Array.from({ length: 6 }, (_, index) => `node${index}.${round}`);
      const asked = new Map(ids.map((id) => [id, pick(kind)]));
      let tokenMax = 0n;
      let line: string[] = [];
      for (let step = 0; step < 40; step += 1) {
        const id = pick(ids);
        const verb = pick([
          ...(['acquire', 'acquire', 'acquire', 'heartbeat', 'renew', 'release'] as const),
          ...(['releaseUnsure', 'cancel', 'downgrade', 'force'] as const),
        ]);
        const isForce = verb === 'force' && random.fraction() < 0.7;
        if (isForce) continue;
        if (verb === 'acquire') await stage.acquire(resource, id, asked.get(id));
        else if (verb === 'force') await stage.force(resource, `order.${step}`, 'why');
        else await stage[verb](resource, id);
        const told = `seed ${seed}, round ${round}, step ${step}: ${verb} ${id}`;
        const now = await stage.read(resource);
        const used = now.holders.reduce((sum, { permits }) => sum + permits, 0);
        for (const holder of now.holders) {
          expect(used, told).toBeLessThanOrEqual(holder.capacity);
          expect(now.line, told).not.toContain(holder.id);
          expect(now.tombs, told).not.toContain(holder.id);
          if (holder.mode === 'x') expect(BigInt(holder.fence), told).toBeLessThanOrEqual(now.last);
        }
        expect(now.last, told).toBeGreaterThanOrEqual(tokenMax);
        tokenMax = now.last;
        // Whoever stays in line stays in order; whoever is new stands at the end.
        const staying = line.filter((other) => now.line.includes(other));
        expect(now.line.slice(0, staying.length), told).toEqual(staying);
        line = now.line;
        // Nobody waits for what is free.
        if (now.holders.length === 0) expect(now.line, told).toEqual([]);
      }
    }
  });
});
