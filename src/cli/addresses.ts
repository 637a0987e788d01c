import { createRequire } from 'node:module';
import { join } from 'node:path';
import { invalidArgument } from '../core/validate.js';
import { mysqlParticipant } from '../drivers/mysql/participant.js';
import { postgresTransactions } from '../drivers/postgres/decision-log.js';
import { postgresParticipant } from '../drivers/postgres/participant.js';
import { redisTransactions } from '../drivers/redis/decision-log.js';
import { redisLock } from '../drivers/redis/lock.js';
import { redisParticipant } from '../drivers/redis/participant.js';
import { zookeeperLock } from '../drivers/zookeeper/lock.js';
import { type ZookeeperSession, zookeeper } from '../drivers/zookeeper/session.js';
import { zookeeperTransactions } from '../drivers/zookeeper/transactions.js';
import type { LockDriver } from '../lock/driver.js';
import type { DecisionLog } from '../transaction/decision-log.js';
import type { Participant } from '../transaction/participant.js';
import { servedParticipant } from '../transaction/remote/served-participant.js';
import type { CommandSources } from './sources.js';

/**
 * Plain addresses; one with `name=` in front of it is a participant of that name, with
 * `service/name=` one of a service.
 */
export interface AddressFlags {
  readonly redis?: readonly string[] | undefined;
  readonly postgres?: readonly string[] | undefined;
  readonly mysql?: readonly string[] | undefined;
  readonly zookeeper?: string | undefined;
  /** Which of them holds the decisions. Default ZooKeeper, else a Redis, else a PostgreSQL. */
  readonly log?: string | undefined;
  readonly namespace?: string | undefined;
  /** The `livenessTimeoutMs` that the service gives its log. Default the log's own. */
  readonly livenessMs?: string | undefined;
}

interface Address {
  readonly name: string | undefined;
  readonly url: string;
}

const NAMED = /^((?:[\w.-]{1,64}\/)?[\w.-]{1,64})=(.*)$/s;
const CONNECT_TIMEOUT_MS = 5_000;

/** Clients of the servers behind plain addresses; the client packages are the user's own. */
export async function openAddresses(flags: AddressFlags): Promise<CommandSources> {
  const { zookeeper: servers, namespace } = flags;
  const parts = new Parts(livenessOf(flags));
  for (const address of addresses(flags.redis)) await parts.redis(address, namespace);
  for (const address of addresses(flags.postgres)) await parts.postgres(address);
  for (const address of addresses(flags.mysql)) await parts.mysql(address);
  if (servers !== undefined) parts.zookeeper(servers, namespace);
  if (parts.logs.size + parts.participants.length === 0) {
    const remedy = '--redis, --postgres, --mysql or --zookeeper, or a module';
    throw new Error(`there is nothing to look at; pass ${remedy}`);
  }
  const wanted =
    flags.log ?? ['zookeeper', 'redis', 'postgres'].find((kind) => parts.logs.has(kind));
  const log = wanted === undefined ? undefined : parts.logs.get(wanted);
  if (flags.log !== undefined && log === undefined) {
    throw invalidArgument('log', flags.log, 'redis, zookeeper or postgres, with its address');
  }
  const { participants, clients, locks, close } = parts;
  return { log, participants, clients, locks, namespace, close };
}

function livenessOf({ livenessMs }: AddressFlags): { readonly livenessTimeoutMs?: number } {
  if (livenessMs === undefined) return {};
  const livenessTimeoutMs = Number(livenessMs);
  if (livenessTimeoutMs >= 1) return { livenessTimeoutMs };
  throw invalidArgument('--liveness-ms', livenessMs, 'a number of milliseconds, 1 or more');
}

class Parts {
  readonly #liveness: { readonly livenessTimeoutMs?: number };
  readonly participants: Participant[] = [];
  readonly clients: Record<string, unknown> = {};
  readonly logs = new Map<string, DecisionLog>();
  readonly #closers: (() => unknown)[] = [];
  locks: LockDriver | undefined;

  constructor(liveness: { readonly livenessTimeoutMs?: number }) {
    this.#liveness = liveness;
  }

  readonly close = async (): Promise<void> => {
    await Promise.allSettled(this.participants.map((each) => each.close()));
    await Promise.allSettled(this.#closers.map(async (close) => close()));
  };

  async redis({ name, url }: Address, namespace: string | undefined): Promise<void> {
    const { Redis } = await clientPackage<typeof import('ioredis')>('ioredis');
    const client = new Redis(url, { connectTimeout: CONNECT_TIMEOUT_MS, lazyConnect: false });
    client.on('error', () => {});
    this.#closers.push(() => client.disconnect());
    this.logs.set(
      'redis',
      this.logs.get('redis') ?? redisTransactions({ client, ...this.#liveness }),
    );
    this.locks ??= redisLock({ client, ...(namespace !== undefined && { namespace }) });
    if (name === undefined) return;
    this.participants.push(participantOf(name, (own) => redisParticipant({ name: own, client })));
  }

  async postgres({ name, url }: Address): Promise<void> {
    const { Pool } = await clientPackage<typeof import('pg')>('pg');
    const connectionTimeoutMillis = CONNECT_TIMEOUT_MS;
    const pool = new Pool({ connectionString: url, max: 3, connectionTimeoutMillis });
    pool.on('error', () => {});
    this.#closers.push(() => pool.end());
    this.logs.set(
      'postgres',
      this.logs.get('postgres') ?? postgresTransactions({ pool, ...this.#liveness }),
    );
    const known = name ?? databaseOf(url);
    this.clients[known] = pool;
    this.participants.push(participantOf(known, (own) => postgresParticipant({ name: own, pool })));
  }

  async mysql({ name, url }: Address): Promise<void> {
    const { createPool } = await clientPackage<typeof import('mysql2/promise')>('mysql2/promise');
    const pool = createPool({ uri: url, connectionLimit: 3, connectTimeout: CONNECT_TIMEOUT_MS });
    this.#closers.push(() => pool.end());
    const known = name ?? databaseOf(url);
    this.clients[known] = pool;
    this.participants.push(participantOf(known, (own) => mysqlParticipant({ name: own, pool })));
  }

  /** Decisions have the coordinator's namespace; a lock has its session's. Neither sends yet. */
  zookeeper(servers: string, namespace: string | undefined): void {
    const sessionIn = (place: { readonly namespace?: string }): ZookeeperSession => {
      const session = zookeeper({ servers, connectTimeoutMs: CONNECT_TIMEOUT_MS, ...place });
      this.#closers.push(() => session.close());
      return session;
    };
    this.logs.set('zookeeper', zookeeperTransactions({ session: sessionIn({}) }));
    const place = namespace === undefined ? {} : { namespace };
    this.locks ??= zookeeperLock({ session: sessionIn(place) });
  }
}

/** A participant of a coordinator, or, of `inventory/stock`, the service's, as records name it. */
function participantOf(name: string, create: (own: string) => Participant): Participant {
  const [own = '', service] = name.split('/').reverse();
  const participant = create(own);
  return service === undefined ? participant : servedParticipant(service, participant);
}

function addresses(texts: readonly string[] | undefined): readonly Address[] {
  return (texts ?? []).map((text) => {
    const [, name, url = text] = NAMED.exec(text) ?? [];
    if (!URL.canParse(url)) throw invalidArgument('address', '(hidden)', 'a URL, or name=URL');
    return { name, url };
  });
}

function databaseOf(url: string): string {
  return decodeURIComponent(new URL(url).pathname.slice(1)) || 'database';
}

/** The client package of the project in which the command runs, else one beside tricord. */
async function clientPackage<Module>(name: string): Promise<Module> {
  for (const from of [join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      return createRequire(from)(name) as Module;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  const install = name.split('/')[0];
  throw new Error(`the package ${install} is not installed here; run: npm install ${install}`);
}
