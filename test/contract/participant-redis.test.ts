import { Cluster, Redis } from 'ioredis';
import { type RedisBranch, type RedisParticipantOptions, redisParticipant } from 'tricord/redis';
import { participantContract } from 'tricord/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type ServerHandle, startRedis } from '../servers/provider.js';
import { freshPrefix, onServer } from '../servers/shared.js';

type Client = Redis | Cluster;

interface Setup {
  readonly connect: () => Client;
  /** The client that reads beside the branches; as `connect` by default. */
  readonly connectReader?: () => Client;
  readonly options?: Partial<RedisParticipantOptions>;
  /** Put before the keys of the kit. */
  readonly tag?: string;
}

/** The subject of the kit; its keys are ordinary ones, and read with an ordinary GET. */
function subjectOf({ connect, connectReader = connect, options, tag = '' }: Setup) {
  const name = freshPrefix('shop').replace(/:/g, '-');
  let reader: Client | undefined;
  const looking = (): Client => {
    reader ??= connectReader();
    return reader;
  };
  afterAll(() => reader?.disconnect());
  const keyOf = (key: string) => `${tag}${name}:${key}`;
  return {
    open: () => {
      const client = connect();
      const participant = redisParticipant({ name, client, ...options });
      return { participant, close: async () => client.disconnect() };
    },
    write: (handle: RedisBranch, key: string, value: string) => handle.set(keyOf(key), value),
    read: async (key: string) => (await looking().get(keyOf(key))) ?? undefined,
    look: (handle: RedisBranch, key: string) => handle.get(keyOf(key)),
    async spoil(handle: RedisBranch, key: string) {
      await handle.get(keyOf(`${key}:counter`));
      await looking().set(keyOf(`${key}:counter`), '1');
    },
    notesAborts: true,
  };
}

onServer('redis', 'redisParticipant', (redis) => {
  const subject = subjectOf({ connect: () => new Redis(redis.url) });
  for (const { name, run } of participantContract<RedisBranch>(subject)) test(name, run);
});

onServer('redis', 'redisParticipant with a keyPrefix', (redis) => {
  const connect = () => new Redis(redis.url, { keyPrefix: 'app:' });
  const subject = subjectOf({ connect, options: { namespace: 'other' } });
  for (const { name, run } of participantContract<RedisBranch>(subject)) test(name, run);
});

onServer('redis', 'redisParticipant with auto-pipelining and without an offline queue', (redis) => {
  const connect = () =>
    new Redis(redis.url, { enableAutoPipelining: true, enableOfflineQueue: false });
  const connectReader = () => new Redis(redis.url);
  const subject = subjectOf({ connect, connectReader });
  for (const { name, run } of participantContract<RedisBranch>(subject)) test(name, run);
});

const CLUSTER = { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' };

// One node with all slots refuses a command that crosses slots just as many nodes do.
describe('redisParticipant on a cluster [redis]', () => {
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis({ config: CLUSTER });
    const client = new Redis(redis.url);
    await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    while (!(await client.cluster('INFO')).includes('cluster_state:ok')) await client.ping();
    client.disconnect();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());
  const connect = () => new Cluster([{ host: redis.host, port: redis.port }]);
  const subject = subjectOf({ connect, options: { hashTag: 'shop' }, tag: '{shop}:' });
  for (const { name, run } of participantContract<RedisBranch>(subject)) test(name, run);
});
