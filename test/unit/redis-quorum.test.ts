// What redisQuorumLock refuses before anything is sent, and what its client concludes from answers.

import { Redis } from 'ioredis';
import { redisLock, redisQuorumLock } from 'tricord/redis';
import { describe, expect, test } from 'vitest';
import { gather } from '../../src/drivers/redis/quorum/gather.js';
import { quorumGuarantees } from '../../src/drivers/redis/quorum/promises.js';
import {
  judgeHolds,
  judgeVotes,
  majorityOf,
  mayStart,
} from '../../src/drivers/redis/quorum/rules.js';

const clients = (count: number): Redis[] =>
  Array.from({ length: count }, () => new Redis({ lazyConnect: true }));

describe('redisQuorumLock', () => {
  test.for([
    [0, 'no majority to lose'],
    [1, 'no majority to lose'],
    [2, 'an even number tolerates no more failures than one node less'],
    [4, 'an even number tolerates no more failures than one node less'],
    [7, 'more than 5 make every step slower'],
  ] as const)('refuses %i clients, and says why', ([count, why]) => {
    expect(() => redisQuorumLock({ clients: clients(count) })).toThrow(
      expect.objectContaining({ name: 'TypeError', message: expect.stringContaining(why) }),
    );
  });

  test('takes 3 and 5', () => {
    expect(redisQuorumLock({ clients: clients(3) }).backend).toBe('redis-quorum');
    expect(redisQuorumLock({ clients: clients(5) }).backend).toBe('redis-quorum');
  });

  test('refuses one client twice, a Cluster, and what is no client', () => {
    const [one, two] = clients(2) as [Redis, Redis];
    expect(() => redisQuorumLock({ clients: [one, two, one] })).toThrow(/stands there twice/);
    const cluster = Object.assign(clients(1)[0] as Redis, { isCluster: true });
    expect(() => redisQuorumLock({ clients: [one, two, cluster] })).toThrow(/not a Cluster/);
    expect(() => redisQuorumLock({ clients: [one, two, {} as Redis] })).toThrow(/clients\[2\]/);
    expect(() => redisQuorumLock({ clients: one as never })).toThrow(/3 or 5 clients/);
  });

  test.for([
    ['ttlMsMax', 99],
    ['ttlMsMax', Number.NaN],
    ['nodeTimeoutMs', 9],
    ['replyTimeoutMs', 49],
    ['heartbeatMs', 60_001],
  ] as const)('refuses %s of %d', ([name, value]) => {
    expect(() => redisQuorumLock({ clients: clients(3), [name]: value })).toThrow(name);
  });

  test('redisLock refuses waitReplicas that cannot be', () => {
    const [client] = clients(1) as [Redis];
    const wait = (waitReplicas: never) => () => redisLock({ client, waitReplicas });
    expect(wait({ count: 0, timeoutMs: 100 } as never)).toThrow(/waitReplicas.count/);
    expect(wait({ count: 1, timeoutMs: 0 } as never)).toThrow(/waitReplicas.timeoutMs/);
    expect(wait({ count: 1 } as never)).toThrow(/waitReplicas.timeoutMs/);
    const cluster = Object.assign(clients(1)[0] as Redis, { isCluster: true });
    const refused = () => redisLock({ client: cluster, waitReplicas: { count: 1, timeoutMs: 9 } });
    expect(refused).toThrow(/not with a Cluster/);
  });
});

describe('the rules of a quorum', () => {
  const yes = (proposal: bigint) => ({ kind: 'yes', proposal }) as const;

  test('a majority of 3 is 2, of 5 it is 3', () => {
    expect([3, 5].map(majorityOf)).toEqual([2, 3]);
  });

  test('the token is one more than the newest of the votes, with a majority only', () => {
    expect(judgeVotes([yes(7n), undefined, undefined])).toEqual({ state: 'open' });
    expect(judgeVotes([yes(7n), yes(12n), { kind: 'no' }])).toEqual({ state: 'won', token: 13n });
    expect(judgeVotes([yes(7n), { kind: 'silent' }, { kind: 'away' }])).toEqual({
      state: 'failed',
    });
  });

  test('a majority that cannot come together any more is known before all have answered', () => {
    expect(judgeHolds([false, undefined, false])).toEqual({ state: 'failed' });
    expect(judgeHolds([false, undefined, true])).toEqual({ state: 'open' });
    expect(judgeHolds([true, undefined, true])).toEqual({ state: 'won' });
  });

  test('ready nodes begin only when every node is known to be ready or in service', () => {
    const ready = { kind: 'ready', nonce: 'n' } as const;
    expect(mayStart([ready, ready, 'in service'])).toBe(true);
    expect(mayStart([ready, ready, undefined])).toBe(false);
    expect(mayStart([ready, ready, { kind: 'blank', nonce: 'n' }])).toBe(false);
  });

  test('the nodes are not waited for once their answers suffice', async () => {
    const never = new Promise<number>(() => {});
    const answers = await gather(
      [1, 2, 3],
      (node) => (node === 2 ? never : Promise.resolve(node)),
      (all) => (all.filter((answer) => answer?.ok).length >= 2 ? all : undefined),
    );
    expect(answers.map((answer) => answer?.ok)).toEqual([true, undefined, true]);
  });
});

describe('the guarantees of a quorum', () => {
  const settings = {
    redis_version: '7.0.15',
    redis_mode: 'standalone',
    role: 'master',
    connected_slaves: '0',
    appendonly: 'no',
    appendfsync: 'unknown',
    save: '',
    maxmemory: '0',
    'maxmemory-policy': 'noeviction',
  };

  test('a fail-over is survived without any persistence, while a majority keeps its state', () => {
    const guarantees = quorumGuarantees([settings, settings, settings], 60_000);
    expect(guarantees).toMatchObject({ survives: 'failover', warnings: [] });
  });

  test('eviction, replicas, old versions and silence are warned of, by node', () => {
    const evicting = { ...settings, 'maxmemory-policy': 'allkeys-lru' };
    const followed = { ...settings, connected_slaves: '2', redis_version: '6.0.9' };
    const { survives, warnings } = quorumGuarantees([evicting, followed, undefined], 60_000);
    expect(survives).toBe('none');
    expect(warnings.join(' ')).toMatch(
      /Node 1 may evict.*Node 2.*6\.2.*Node 2 has replicas.*Node 3 does not answer/,
    );
  });
});
