// A node of a three-phase transaction, which may meet a signal at a chosen step of the protocol:
// node three-phase-process.ts ‹config as JSON›, then commands on standard input, one a line.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import pg from 'pg';
import {
  createTransactionCoordinator,
  createTransactionSite,
  httpTransport,
  type SiteStorage,
  type SiteTransport,
  serveParticipant,
} from '../../src/index.js';
import { postgresParticipant, postgresSiteStorage } from '../../src/postgres.js';
import { redisTransactions, redisTransport } from '../../src/redis.js';
import { zookeeper, zookeeperTransport } from '../../src/zookeeper.js';

export interface ThreePhaseConfig {
  /** The site: `orders`, which coordinates, or `stock` or `payment`, which serve. */
  readonly name: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly transport: 'http' | 'redis' | 'zookeeper';
  readonly zookeeperUrl?: string | undefined;
  /** Of the HTTP transport, by site. */
  readonly addresses: Readonly<Record<string, string>>;
  /** Ends by an elected backup, as if crashes were the only faults. */
  readonly isCrashStop?: boolean | undefined;
  /** Where this process meets its signal. */
  readonly point?: string | undefined;
  readonly signal?: NodeJS.Signals | undefined;
}

const config: ThreePhaseConfig = JSON.parse(process.argv[2] ?? '{}');
const write = (line: string): boolean => process.stdout.write(`${line}\n`);
const pool = new pg.Pool({ connectionString: config.databaseUrl, max: 10 });
pool.on('error', () => {});
const client = new Redis(config.redisUrl, { retryStrategy: () => 200 });
client.on('error', () => {});
let isCut = false;

let isReached = false;
function reached(point: string): void {
  if (point !== config.point || isReached) return;
  isReached = true;
  process.kill(process.pid, config.signal ?? 'SIGKILL');
}

/** Each write of the site, with the moments before and after it, by the state that it writes. */
function steppedStorage(storage: SiteStorage): SiteStorage {
  return {
    ...storage,
    open(node) {
      const store = storage.open(node);
      return {
        ...store,
        async write(record, options) {
          const state = /"s":"(\w+)"/.exec(record.text)?.[1];
          reached(`before write ${state}`);
          const answer = await store.write(record, options);
          reached(`after write ${state}`);
          return answer;
        },
      };
    },
  };
}

/** Each kind of message, after it was handed to the transport; and the partition of this process. */
function steppedTransport(transport: SiteTransport): SiteTransport {
  return {
    ...transport,
    open(node, receive) {
      const line = transport.open(node, (text) => isCut || receive(text));
      return {
        ...line,
        async send(to, text) {
          if (isCut) return;
          await line.send(to, text).catch(() => {});
          for (const [, type] of text.matchAll(/"m":"(\w+)"/g)) reached(`sent ${type}`);
        },
      };
    },
  };
}

function transportOf(): SiteTransport {
  if (config.transport === 'redis') return redisTransport({ client });
  if (config.transport === 'zookeeper') {
    const session = zookeeper({ servers: config.zookeeperUrl ?? '', sessionTimeoutMs: 4_000 });
    return zookeeperTransport({ session });
  }
  const secret = 'a secret of all sites';
  const transport = httpTransport({ addresses: config.addresses, secret, timeoutMs: 500 });
  const server = createServer((request, response) => void transport.handler(request, response));
  const port = Number(new URL(config.addresses[config.name] ?? '').port);
  const listen = () => server.listen(port, '127.0.0.1');
  // Somebody else may have the port for a moment, after an earlier life of this site.
  server.on('error', () => setTimeout(listen, 200));
  listen();
  return transport;
}

const { name } = config;
const site = createTransactionSite({
  name,
  transport: steppedTransport(transportOf()),
  storage: steppedStorage(postgresSiteStorage({ pool, replyTimeoutMs: 1_000 })),
  electionMs: 300,
  ...(config.isCrashStop === true && {
    termination: 'elected-backup',
    assume: 'synchronous-crash-stop',
  }),
});
const resource = postgresParticipant({ name, pool, callTimeoutMs: 1_500 });
const store = redisTransactions({ client, livenessTimeoutMs: 600, replyTimeoutMs: 500 });
const insert = 'insert into placed values ($1)';
await site.ready;

if (name === 'orders') {
  const coordinator = createTransactionCoordinator({
    log: store,
    participants: [resource],
    site,
    sweepMs: 500,
  });
  const place = async (id: number): Promise<string> => {
    const options = {
      resourceId: `order:${id}`,
      protocol: 'three-phase',
      timeoutMs: 4_000,
    } as const;
    const outcome = await coordinator.run(options, async (tx) => {
      await (await tx.enlist(resource)).query(insert, [id]);
      await Promise.all([tx.call('stock', id), tx.call('payment', id)]);
    });
    return outcome.state;
  };
  answerTo({ place: (id) => place(Number(id)) });
} else {
  const served = serveParticipant<number, number>({
    store,
    name,
    site,
    participants: [resource],
    sweepMs: 500,
    handlers: {
      async prepare(id, { enlist }) {
        await (await enlist(resource)).query(insert, [id]);
        return id;
      },
    },
  });
  await served.ready;
  answerTo({});
}

/** Runs commands until the process is killed. */
function answerTo(commands: Record<string, (argument: string) => Promise<string>>): void {
  write('ready');
  const all: typeof commands = {
    ...commands,
    cut: async (argument) => {
      isCut = argument === 'on';
      return 'ok';
    },
  };
  createInterface({ input: process.stdin }).on('line', (line) => {
    const [command = '', argument = ''] = line.split(' ');
    const answer = all[command]?.(argument) ?? Promise.resolve('unknown');
    void answer.then(write, (error: unknown) => write(`failed ${String(error)}`));
  });
}
