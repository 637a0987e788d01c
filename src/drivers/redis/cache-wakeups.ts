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

  const listen = (): void => {
    if (subscriber !== undefined) return;
    subscriber = client.duplicate();
    // Without a listener ioredis writes errors to the console.
    subscriber.on('error', () => {});
    subscriber.on('message', (_: string, key: string) => list.wake(key));
    subscriber.subscribe(channel).catch(() => {});
  };
  return {
    next(key, signal) {
      listen();
      return list.next(key, signal);
    },
    close() {
      subscriber?.disconnect();
      list.wakeAll();
    },
  };
}
