// What the Redis participant checks, holds and gives back: against a model of a few lines in every
// interleaving that chance finds, and rule by rule.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { createTransactionCoordinator, newTransactionId } from 'tricord';
import { memoryTransactions } from 'tricord/memory';
import { type RedisBranch, type RedisParticipantOptions, redisParticipant } from 'tricord/redis';
import { afterAll, expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import type { Branch, BranchRecord } from '../../src/transaction/participant.js';
import { freshPrefix, onServer } from '../servers/shared.js';
import { type Deed, naiveShop } from './redis-participant-model.js';

const RUNS = Number(process.env.RUNS ?? 150);
const seed = process.env.SEED === undefined ? Date.now() : Number(process.env.SEED);

onServer('redis', 'what redisParticipant keeps', (redis) => {
  const client = new Redis(redis.url);
  afterAll(() => client.disconnect());

  const shop = (options: Partial<RedisParticipantOptions> = {}) => {
    const name = freshPrefix('shop').replace(/:/g, '-');
    const participant = redisParticipant({ name, client, ...options });
    const at = (key: string) => `${name}:${key}`;
    const begin = async (): Promise<{
      branch: Branch<RedisBranch>;
      handle: RedisBranch;
      record: BranchRecord;
    }> => {
      const transactionId = newTransactionId('order:1', 'test');
      const branchId = `${transactionId}.1`;
      const { signal } = new AbortController();
      const context = { transactionId, branchId, timeoutMs: 10_000, signal, clock: systemClock };
      const branch = await participant.enlist(context);
      return { branch, handle: branch.handle, record: { branchId, evidence: '' } };
    };
    const own = (part: string) => `tricord:default:participant:{${name}}:${name}:${part}`;
    return { name, participant, at, begin, own };
  };
  const refusesWith = (expected: string, work: Promise<unknown>) =>
    expect(work).rejects.toMatchObject({ code: expected });

  test('of 64 transactions at once that reserve one of 10 units, exactly 10 commit', async () => {
    const { participant, at } = shop();
    await client.set(at('sku'), '10');
    const log = memoryTransactions();
    const nodes = Array.from({ length: 4 }, () =>
      createTransactionCoordinator({ log, participants: [participant], acceptRisk: true }),
    );
    const outcomes = await Promise.all(
      Array.from({ length: 64 }, (_, index) =>
        nodes[index % 4]?.run({ resourceId: 'order' }, async (tx) => {
          await (await tx.enlist(participant)).reserve(at('sku'), 1);
        }),
      ),
    );
    assert.equal(outcomes.filter((each) => each?.state === 'committed').length, 10);
    assert.equal(outcomes.filter((each) => each?.state === 'aborted').length, 54);
    assert.equal(await client.get(at('sku')), '0');
    await Promise.all(nodes.map((node) => node.close()));
  });

  test('of 64 prepares at once for 10 units 10 are granted, held together, and return', async () => {
    const { participant, at, begin } = shop();
    await client.set(at('sku'), '64');
    const all = await Promise.all(Array.from({ length: 64 }, begin));
    for (const { handle } of all) await handle.reserve(at('sku'), 1);
    await client.set(at('sku'), '10');
    const votes = await Promise.all(all.map(({ branch }) => branch.prepare()));
    const granted = all.filter((_, index) => votes[index]?.vote === 'yes');
    assert.equal(granted.length, 10);
    assert.equal(await client.get(at('sku')), '0');
    assert.equal((await participant.recover()).length, 10);
    await Promise.all(granted.map(({ branch }) => branch.abort()));
    assert.equal(await client.get(at('sku')), '10');
  });

  test(`prepare, commit, abort and their repetitions agree with a naive model (SEED=${seed})`, async () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const value = fc.constantFrom('1', '2', 'text');
    const deed: fc.Arbitrary<Deed> = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), key, value }),
      fc.record({ kind: fc.constant('delete' as const), key }),
      fc.record({ kind: fc.constant('get' as const), key }),
      fc.record({
        kind: fc.constant('expect' as const),
        key,
        value: fc.option(value, { nil: undefined }),
      }),
      fc.record({
        kind: fc.constant('increment' as const),
        key,
        by: fc.integer({ min: -3, max: 3 }),
        min: fc.constantFrom(undefined, 0),
      }),
      fc.record({ kind: fc.constant('reserve' as const), key, by: fc.integer({ min: 0, max: 3 }) }),
    );
    const step = fc.record({
      index: fc.nat({ max: 4 }),
      verb: fc.constantFrom('work', 'work', 'prepare', 'prepare', 'commit', 'abort', 'onePhase'),
      deed,
    });
    const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { participant, at, begin, own } = shop();
      const model = naiveShop();
      for (const [name, stock] of [
        ['a', '4'],
        ['b', '0'],
      ] as const) {
        await client.set(at(name), stock);
        model.load(name, stock);
      }
      const branches = await Promise.all(Array.from({ length: 5 }, begin));
      for (const { index, verb, deed: work } of steps) {
        const { branch, handle, record } = branches[index] ?? assert.fail();
        if (verb === 'work') {
          const found = await done(handle, work, at);
          assert.deepEqual(found, model.work(index, work), JSON.stringify(work));
        } else if (verb === 'prepare') {
          const { vote } = await branch.prepare();
          assert.equal(vote, model.prepare(index));
        } else if (verb === 'onePhase') {
          const outcome = await branch.commitOnePhase?.();
          assert.equal(outcome?.state, model.onePhase(index));
        } else {
          const ending = await participant[verb as 'commit' | 'abort'](record).then(
            () => 'done',
            (error) => error.code,
          );
          assert.equal(ending, model.end(index, verb as 'commit' | 'abort'));
        }
        const stored = await client.mget(['a', 'b', 'c'].map(at));
        assert.deepEqual(stored, model.stored(['a', 'b', 'c']), `after ${verb} of ${index}`);
        assert.equal((await participant.recover()).length, model.preparedCount());
      }
      for (const { record } of branches) await participant.abort(record).catch(() => {});
      assert.equal(await client.hlen(own('locks')), 0, 'no lock is left');
      assert.deepEqual(await client.hkeys(own('intents')), [':format']);
    });
    await fc.assert(property, { seed, numRuns: RUNS });
  });

  test('a key that a prepared branch wrote is held until its end, and votes no meanwhile', async () => {
    const { at, begin } = shop();
    const [holder, other, after] = [await begin(), await begin(), await begin()];
    for (const { handle } of [holder, other, after]) await handle.set(at('order'), 'x');
    await holder.branch.prepare();
    const vote = await other.branch.prepare();
    assert.ok(vote.vote === 'no' && /held by another/.test(vote.reason), JSON.stringify(vote));
    await holder.branch.abort();
    assert.equal((await after.branch.prepare()).vote, 'yes');
    await after.branch.abort();
  });

  test('what a branch read is held too, together with other readers, against writers', async () => {
    const { at, begin } = shop();
    const [one, two, writer] = [await begin(), await begin(), await begin()];
    for (const [index, { handle }] of [one, two].entries()) {
      await handle.get(at('price'));
      await handle.set(at(`order${index}`), 'x');
    }
    await writer.handle.set(at('price'), '9');
    assert.equal((await one.branch.prepare()).vote, 'yes');
    assert.equal((await two.branch.prepare()).vote, 'yes');
    await one.branch.commit();
    assert.equal((await writer.branch.prepare()).vote, 'no');
    await two.branch.commit();
  });

  test('a branch that finds preparedMax others votes no with PARTICIPANT_FULL as its cause', async () => {
    const { at, begin } = shop({ preparedMax: 1 });
    const [first, second] = [await begin(), await begin()];
    await first.handle.set(at('a'), 'x');
    await second.handle.set(at('b'), 'x');
    await first.branch.prepare();
    const vote = await second.branch.prepare();
    expect(vote).toMatchObject({ vote: 'no', cause: { code: 'PARTICIPANT_FULL' } });
    await first.branch.commit();
  });

  test('evidence is bounded in number and in time, and its loss is never a success', async () => {
    const { participant, at, begin, own } = shop({ evidenceMax: 3 });
    const records: BranchRecord[] = [];
    for (let index = 0; index < 8; index += 1) {
      const { branch, handle, record } = await begin();
      await handle.set(at('a'), String(index));
      await branch.prepare();
      await branch.commit();
      records.push(record);
    }
    assert.equal(await client.zcard(own('committed')), 3);
    const [oldest, newest] = [records[0] ?? assert.fail(), records[7] ?? assert.fail()];
    assert.equal(await participant.outcome(newest), 'committed');
    await participant.commit(newest);
    assert.equal(await participant.outcome(oldest), 'unknown');
    await refusesWith('RESULT_UNKNOWN', participant.commit(oldest));
    assert.equal(await client.get(at('a')), '7');
  });

  test('evidence older than evidenceRetainMs goes with the next ending, by the server’s clock', async () => {
    const { at, begin, own } = shop({ evidenceRetainMs: 60_000 });
    const end = async () => {
      const { branch, handle } = await begin();
      await handle.set(at('a'), 'x');
      await branch.prepare();
      await branch.commit();
    };
    await end();
    const [seconds = 0] = await client.time();
    await client.zadd(own('committed'), Number(seconds) * 1_000 - 61_000, 'old');
    await client.zadd(own('committed'), Number(seconds) * 1_000 - 50_000, 'young');
    await end();
    assert.equal(await client.zscore(own('committed'), 'old'), null);
    assert.notEqual(await client.zscore(own('committed'), 'young'), null);
  });

  test('nothing that a participant keeps has a time to live', async () => {
    const { name, at, begin } = shop();
    const [open, ended] = [await begin(), await begin()];
    for (const [index, { handle, branch }] of [open, ended].entries()) {
      await handle.set(at(`order${index}`), 'x');
      await branch.prepare();
    }
    await ended.branch.commit();
    const keys = await client.keys(`tricord:default:participant:{${name}}*`);
    assert.ok(keys.length >= 4, keys.join());
    for (const key of keys) assert.equal(await client.pttl(key), -1, key);
    await open.branch.abort();
  });

  test('data in a newer format is refused with UPGRADE_NEEDED, and nothing is changed', async () => {
    const { participant, at, begin, own } = shop();
    const { branch, handle, record } = await begin();
    await handle.set(at('order'), 'x');
    await client.hset(own('intents'), ':format', '2');
    await refusesWith('UPGRADE_NEEDED', branch.prepare());
    await refusesWith('UPGRADE_NEEDED', participant.abort(record));
    await refusesWith('UPGRADE_NEEDED', participant.recover());
    assert.equal(await client.exists(at('order')), 0);
  });

  test('a number that something else spoilt stops the branch until it is mended, and nothing is half done', async () => {
    const { participant, at, begin } = shop();
    await client.set(at('sku'), '5');
    const { branch, handle, record } = await begin();
    await handle.reserve(at('sku'), 2);
    await handle.set(at('order'), 'placed');
    await branch.prepare();
    await client.set(at('sku'), 'spoilt');
    await refusesWith('DATA_CORRUPT', participant.abort(record));
    assert.equal(await participant.outcome(record), 'prepared');
    await client.set(at('sku'), '3');
    await participant.abort(record);
    assert.deepEqual([await client.get(at('sku')), await client.exists(at('order'))], ['5', 0]);
  });

  test('texts of every kind come back as they were written', async () => {
    const { at, begin } = shop();
    for (const text of ['', 'null', '"quoted"', 'naïve 🛒', '\u0000\n\\', '[]', '{}']) {
      const [one, two] = [await begin(), await begin()];
      await one.handle.set(at(`key ${text}`), text);
      await one.branch.prepare();
      await one.branch.commit();
      assert.equal(await client.get(at(`key ${text}`)), text);
      await two.handle.expect(at(`key ${text}`), text);
      await two.handle.delete(at(`key ${text}`));
      assert.deepEqual(await two.branch.commitOnePhase?.(), { state: 'committed' });
      assert.equal(await client.exists(at(`key ${text}`)), 0);
    }
  });

  test('what is not text or not a number is refused as such', async () => {
    const { at, begin } = shop();
    await client.rpush(at('list'), 'x');
    await client.set(at('text'), 'x');
    const { branch, handle } = await begin();
    await refusesWith('CONDITION_FAILED', handle.get(at('list')));
    await refusesWith('CONDITION_FAILED', handle.reserve(at('text'), 1));
    await refusesWith('CONDITION_FAILED', handle.increment(at('list')));
    await refusesWith('INVALID_ARGUMENT', handle.set(at('a'), 5 as never));
    await refusesWith('INVALID_ARGUMENT', handle.set(at('a'), '\uD800'));
    await refusesWith('INVALID_ARGUMENT', handle.set('', 'x'));
    await refusesWith('INVALID_ARGUMENT', handle.reserve(at('a'), -1));
    await refusesWith('INVALID_ARGUMENT', handle.increment(at('a'), 0.5));
    await handle.expect(at('list'), undefined);
    const vote = await branch.prepare();
    assert.ok(vote.vote === 'no' && /not a string/.test(vote.reason));
  });
});

/** Does a deed; answers what it answered, or the code of its refusal. */
async function done(
  handle: RedisBranch,
  deed: Deed,
  at: (key: string) => string,
): Promise<unknown> {
  const key = at(deed.key);
  try {
    switch (deed.kind) {
      case 'set':
        return await handle.set(key, deed.value);
      case 'delete':
        return await handle.delete(key);
      case 'get':
        return await handle.get(key);
      case 'expect':
        return await handle.expect(key, deed.value);
      case 'increment':
        return await handle.increment(key, deed.by, { min: deed.min });
      case 'reserve':
        return await handle.reserve(key, deed.by);
    }
  } catch (error) {
    return (error as { code: string }).code;
  }
}
