import { wakeList } from '../../cache/wake-list.js';
import type { RedisClient, RedisSubscriber } from './client.js';

/** Hears when leases end on other nodes. */
export interface CacheWakeups {
  /** Resolves at the next wake-up of a key that is heard, or when the signal aborts. */
  next(key: string, signal: AbortSignal): Promise<void>;
  close(): void;
}

/**
 * Wake-ups over pub/sub, on one connection of our own that is opened by the first who waits. They are
 * hints: while the connection is down, or not yet there, whoever waits polls.
 */
export function cacheWakeups(client: RedisClient, channel: string): CacheWakeups {
  const list = wakeList();
  let subscriber: RedisSubscriber | undefined;
  let isClosed = false;

  const listen = (): void => {
    if (isClosed || subscriber !== undefined) return;
    const connection = client.duplicate();
    subscriber = connection;
    // Without a listener ioredis writes errors to the console.
    connection.on('error', () => {});
    connection.on('message', (_: string, key: string) => list.wake(key));
    // At each connection anew: a client may be set neither to queue commands nor to subscribe again.
    connection.on('ready', () => {
      connection.subscribe(channel).catch(() => {});
    });
    if (connection.status === 'wait') connection.connect().catch(() => {});
  };
  return {
    next(key, signal) {
      listen();
      return list.next(key, signal);
    },
    close() {
      isClosed = true;
      subscriber?.disconnect();
      list.wakeAll();
    },
  };
}
