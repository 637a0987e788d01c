import { backoffMs } from '../../core/backoff.js';
import type { CancelTimer, Clock } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import type { RedisCacheClient } from './cache-client.js';

/** Connections of our own on which changes are heard. */
export interface CacheListening {
  /** Begins to listen, in the background, and goes on until `close`. */
  open(): void;
  close(): void;
}

/** In which way changes are heard. */
export interface NewsMedium {
  /** Lets a connection hear of changes. Rejects where it is refused. */
  listen(connection: ListeningConnection): Promise<void>;
  /** From now on every server is listened to. */
  begun(): void;
  /** What came on any of the connections. */
  hear(message: unknown): void;
  /** Once a second, while all connections answer; throws when they do not bring what they should. */
  check(): void;
  /** From now on none is. */
  ended(): void;
}

/** A connection that listens to one server. */
export interface ListeningConnection {
  readonly status: string;
  on(event: string, listener: (...values: never[]) => void): unknown;
  connect(): Promise<unknown>;
  client(...parts: (string | number)[]): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  ping(): Promise<unknown>;
  disconnect(): void;
}

/** A server that answers for keys: the client itself, or a master of its cluster. */
interface ListenedServer {
  readonly options: { readonly host?: string | undefined; readonly port?: number | undefined };
  duplicate(options: object): ListeningConnection;
}

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
 * Listens to every master, so that what happens on one is told by itself. The medium is told that all
 * has `begun` only while every connection answered within the last seconds; one that closes, stays
 * silent or joins the cluster later says `ended` first, and all of them begin anew.
 */
export function cacheListening(parts: {
  readonly client: RedisCacheClient;
  readonly medium: NewsMedium;
  readonly clock: Clock;
  readonly random: Random;
  readonly onFailure: (error: unknown) => void;
}): CacheListening {
  const { client, medium, clock, random, onFailure } = parts;
  let connections: readonly ListeningConnection[] = [];
  let isLive = false;
  let isClosed = false;
  let round = 0;
  let failureCount = 0;
  let cancel: CancelTimer = () => {};

  const drop = (): void => {
    if (isLive) medium.ended();
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
  const listen = async (connection: ListeningConnection): Promise<void> => {
    await connection.connect();
    await medium.listen(connection);
  };
  const begin = async (): Promise<void> => {
    const ofRound = round;
    try {
      const servers = serversOf(client);
      connections = servers.map((server) => server.duplicate(CONNECTION_OPTIONS));
      const names = namesOf(servers);
      for (const connection of connections) {
        connection.on('error', () => {});
        connection.on('close', () =>
          failed(ofRound, new Error('the connection that listens closed')),
        );
        connection.on('messageBuffer', (_: Buffer, message: unknown) => medium.hear(message));
      }
      await Promise.all(connections.map(listen));
      if (ofRound !== round || isClosed) return;
      failureCount = 0;
      isLive = true;
      medium.begun();
      later(PING_EVERY_MS, () => void watch(ofRound, names));
    } catch (error) {
      failed(ofRound, error);
    }
  };
  /** Every connection answers, and the masters are still the same; or else all begins anew. */
  const watch = async (ofRound: number, names: string): Promise<void> => {
    later(PING_EVERY_MS, () => failed(ofRound, new Error('a connection that listens is silent')));
    try {
      await Promise.all(connections.map((connection) => connection.ping()));
      if (namesOf(serversOf(client)) !== names) throw new Error('the masters have changed');
      if (ofRound !== round) return;
      medium.check();
      later(PING_EVERY_MS, () => void watch(ofRound, names));
    } catch (error) {
      failed(ofRound, error);
    }
  };

  return {
    open() {
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

function serversOf(client: RedisCacheClient): readonly ListenedServer[] {
  const cluster = client as unknown as { nodes(role: 'master'): readonly ListenedServer[] };
  const servers = client.isCluster
    ? cluster.nodes('master')
    : [client as unknown as ListenedServer];
  if (servers.length === 0) throw new Error('the cluster knows no master yet');
  return servers;
}

function namesOf(servers: readonly ListenedServer[]): string {
  return servers
    .map(({ options: { host, port } }) => `${host}:${port}`)
    .sort()
    .join();
}
