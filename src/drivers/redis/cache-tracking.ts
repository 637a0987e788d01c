import type { TierListener } from '../../cache/driver.js';
import { backoffMs } from '../../core/backoff.js';
import type { CancelTimer, Clock } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import type { RedisCacheClient } from './cache-client.js';
import type { CacheKeys } from './cache-keys.js';

/** Hears which entries change, on connections of its own. */
export interface CacheTracking {
  /** Begins to listen, in the background; the listener is told of everything until `close`. */
  open(listener: TierListener): void;
  close(): void;
}

/** A connection that listens to one server. */
interface TrackingConnection {
  readonly status: string;
  on(event: string, listener: (...values: never[]) => void): unknown;
  connect(): Promise<unknown>;
  client(...parts: (string | number)[]): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  ping(): Promise<unknown>;
  disconnect(): void;
}

/** A server that answers for keys: the client itself, or a master of its cluster. */
interface TrackedServer {
  readonly options: { readonly host?: string | undefined; readonly port?: number | undefined };
  duplicate(options: object): TrackingConnection;
}

const CHANNEL = '__redis__:invalidate';
/** A connection that has not answered for so long may miss what others hear. */
const PING_EVERY_MS = 1_000;
const BACKOFF = { baseMs: 50, maxMs: 2_000 };
/** RESP2: ioredis drops the pushes of RESP3. The rest: one try, and the end is told at once. */
const CONNECTION_OPTIONS = {
  protocol: 2,
  keyPrefix: '',
  lazyConnect: true,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  enableReadyCheck: true,
  readOnly: false,
  maxRetriesPerRequest: 0,
  retryStrategy: () => null,
} as const;

/**
 * Server-assisted client-side caching: `CLIENT TRACKING ON BCAST PREFIX …`, redirected to the very
 * connection that listens, so that the tracking lives and dies with it. Every change, expiry and
 * eviction of an entry of this cache, or of a version, is told by its name, and FLUSHALL by a null.
 *
 * The listener hears `live` only while every master is listened to and answered within the last
 * seconds; a connection that closes, stays silent or joins the cluster later says `lost` first.
 */
export function cacheTracking(parts: {
  readonly client: RedisCacheClient;
  readonly keys: CacheKeys;
  readonly clock: Clock;
  readonly random: Random;
  readonly onFailure: (error: unknown) => void;
}): CacheTracking {
  const { client, keys, clock, random, onFailure } = parts;
  let connections: readonly TrackingConnection[] = [];
  let listener: TierListener | undefined;
  let isLive = false;
  let isClosed = false;
  let round = 0;
  let failureCount = 0;
  let cancel: CancelTimer = () => {};

  const drop = (): void => {
    if (isLive) listener?.lost();
    isLive = false;
    for (const connection of connections) connection.disconnect();
    connections = [];
  };
  const later = (delayMs: number, work: () => void): void => {
    cancel();
    if (!isClosed) cancel = clock.schedule(delayMs, work, { keepAlive: false });
  };
  /** Ends a round once, however many of its connections fail. */
  const failed = (ofRound: number, error: unknown): void => {
    if (ofRound !== round || isClosed) return;
    round += 1;
    drop();
    onFailure(error);
    later(backoffMs(failureCount, BACKOFF, random), () => void begin());
    failureCount += 1;
  };
  const hearOf = (name: string): void => {
    const told = keys.told(name);
    if (told?.kind === 'entry') listener?.changed(told.name);
    else if (told?.kind === 'tag') listener?.renewed(told.name);
    else if (told !== undefined) listener?.changed(undefined);
  };
  const hear = (names: unknown): void => {
    if (!Array.isArray(names)) listener?.changed(undefined);
    else for (const name of names) hearOf(String(name));
  };
  const begin = async (): Promise<void> => {
    const ofRound = round;
    try {
      const servers = serversOf(client);
      connections = servers.map((server) => server.duplicate(CONNECTION_OPTIONS));
      const names = namesOf(servers);
      for (const connection of connections) {
        connection.on('error', () => {});
        connection.on('close', () => failed(ofRound, new Error('the tracking connection closed')));
        connection.on('messageBuffer', (_: Buffer, message: unknown) => hear(message));
      }
      await Promise.all(connections.map((connection) => listen(connection, keys.trackedPrefixes)));
      if (ofRound !== round || isClosed) return;
      failureCount = 0;
      isLive = true;
      listener?.live();
      later(PING_EVERY_MS, () => void watch(ofRound, names));
    } catch (error) {
      failed(ofRound, error);
    }
  };
  /** Every connection answers, and the masters are still the same; or else all begins anew. */
  const watch = async (ofRound: number, names: string): Promise<void> => {
    later(PING_EVERY_MS, () => failed(ofRound, new Error('a tracking connection is silent')));
    try {
      await Promise.all(connections.map((connection) => connection.ping()));
      if (namesOf(serversOf(client)) !== names) throw new Error('the masters have changed');
      if (ofRound === round) later(PING_EVERY_MS, () => void watch(ofRound, names));
    } catch (error) {
      failed(ofRound, error);
    }
  };

  return {
    open(told) {
      listener = told;
      begin().catch(() => {});
    },
    close() {
      isClosed = true;
      round += 1;
      cancel();
      drop();
    },
  };
}

async function listen(connection: TrackingConnection, prefixes: readonly string[]): Promise<void> {
  await connection.connect();
  const id = Number(await connection.client('ID'));
  const parts = prefixes.flatMap((prefix) => ['PREFIX', prefix]);
  await connection.client('TRACKING', 'ON', 'REDIRECT', id, 'BCAST', ...parts);
  await connection.subscribe(CHANNEL);
}

function serversOf(client: RedisCacheClient): readonly TrackedServer[] {
  const cluster = client as unknown as { nodes(role: 'master'): readonly TrackedServer[] };
  const servers = client.isCluster ? cluster.nodes('master') : [client as unknown as TrackedServer];
  if (servers.length === 0) throw new Error('the cluster knows no master yet');
  return servers;
}

function namesOf(servers: readonly TrackedServer[]): string {
  return servers
    .map(({ options: { host, port } }) => `${host}:${port}`)
    .sort()
    .join();
}
