import type { RedisClient } from './client.js';

/** A Redis client as a cache uses it: `Redis` and `Cluster` of ioredis 5 and 6 both fit. */
export interface RedisCacheClient extends RedisClient {
  /** MGET, of keys of one slot. */
  mget(keys: string[]): Promise<(string | null)[]>;
  /** UNLINK, of keys of one slot. */
  unlink(...keys: string[]): Promise<number>;
  /** PUBLISH: for a cache that tells others of its changes by itself. */
  publish(channel: string, message: string): Promise<number>;
  /** MGET with its reply as bytes: for a codec that writes bytes. */
  mgetBuffer(keys: string[]): Promise<(Uint8Array | null)[]>;
}
