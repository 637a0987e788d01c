// A master with replicas, alone or watched by sentinels.
//
//   await using redis = await startReplicatedRedis({ replicas: 1, sentinels: 3 });
//   const client = new Redis({ sentinels: redis.sentinels, name: redis.name });
//   await redis.stopReplication();   // the replicas fall behind from here on
//   await redis.master.kill();       // the sentinels promote one that lacks what came after

import { Redis } from 'ioredis';
import { type RedisProcess, startRedisProcess } from './redis-process.js';
import { eventually } from './wire.js';

export interface ReplicatedRedis extends AsyncDisposable {
  readonly master: RedisProcess;
  readonly replicas: readonly RedisProcess[];
  /** For ioredis. */
  readonly sentinels: { host: string; port: number }[];
  /** The name under which the sentinels know the master. */
  readonly name: string;
  /** Cuts the replicas off for good, without a delay: they keep what they have. */
  stopReplication(): Promise<void>;
}

const NAME = 'tricord-master';
/** The replicas' account at the master; without it they fall behind. */
const ACCOUNT = 'replicator';
const DOWN_AFTER_MS = 400;

export async function startReplicatedRedis(options: {
  readonly replicas: number;
  readonly sentinels?: number;
}): Promise<ReplicatedRedis> {
  const started: RedisProcess[] = [];
  const note = (process: RedisProcess): RedisProcess => {
    started.push(process);
    return process;
  };
  const account = { masteruser: ACCOUNT, masterauth: 'secret', 'repl-diskless-sync-delay': '0' };
  const master = note(
    await startRedisProcess(() => account, {
      configFile: `user ${ACCOUNT} on >secret +ping +psync +replconf\n`,
    }),
  );
  const replicaof = `${master.host} ${master.port}`;
  const replicas = await Promise.all(
    Array.from({ length: options.replicas }, async () =>
      note(await startRedisProcess(() => ({ ...account, replicaof }))),
    ),
  );
  await Promise.all(replicas.map(({ url }) => ask(url, hasLink)));
  const sentinels = await Promise.all(
    Array.from({ length: options.sentinels ?? 0 }, async () =>
      note(
        await startRedisProcess(() => ({}), {
          configFile: sentinelConfig(master, options),
          isSentinel: true,
        }),
      ),
    ),
  );
  await Promise.all(sentinels.map(({ url }) => ask(url, (client) => knowsAll(client, options))));
  return {
    master,
    replicas,
    sentinels: sentinels.map(({ host, port }) => ({ host, port })),
    name: NAME,
    async stopReplication() {
      const client = new Redis(master.url);
      await client.call('ACL', 'DELUSER', ACCOUNT);
      client.disconnect();
      await Promise.all(replicas.map(({ url }) => ask(url, async (one) => !(await hasLink(one)))));
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(started.map((process) => process.remove()));
    },
  };
}

function sentinelConfig(
  { host, port }: RedisProcess,
  { sentinels = 0 }: { readonly sentinels?: number },
): string {
  const quorum = Math.floor(sentinels / 2) + 1;
  return [
    `sentinel monitor ${NAME} ${host} ${port} ${quorum}`,
    `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${NAME} 5000`,
    '',
  ].join('\n');
}

async function hasLink(client: Redis): Promise<boolean> {
  return /master_link_status:up/.test(await client.info('replication'));
}

async function knowsAll(
  client: Redis,
  { replicas, sentinels = 0 }: { readonly replicas: number; readonly sentinels?: number },
): Promise<boolean> {
  const info = await client.info('sentinel');
  return info.includes(`slaves=${replicas},sentinels=${sentinels}`);
}

/** Polls one server until the condition holds. */
async function ask(url: string, condition: (client: Redis) => Promise<boolean>): Promise<void> {
  const client = new Redis(url);
  client.on('error', () => {});
  try {
    await eventually(
      async () => {
        if (!(await condition(client))) throw new Error(`${url} is not so far`);
      },
      { timeoutMs: 20_000 },
    );
  } finally {
    client.disconnect();
  }
}
