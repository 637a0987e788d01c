import type { RedisClient } from './client.js';

/** A Redis client as a cache uses it: `Redis` and `Cluster` of ioredis 5 and 6 both fit. */
export interface RedisCacheClient extends RedisClient {
  /** GET. */
  get(key: string): Promise<string | null>;
  /** UNLINK, of keys of one slot. */
  unlink(...keys: string[]): Promise<number>;
}

/** One server, as it is scanned; in a cluster each of `nodes('master')`. */
export interface RedisScanner {
  scan(
    cursor: string,
    match: 'MATCH',
    pattern: string,
    count: 'COUNT',
    pageSize: number,
  ): Promise<[cursor: string, keys: string[]]>;
}

/** The servers that hold a client's keys. */
export function scannersOf(client: RedisCacheClient): readonly RedisScanner[] {
  // A cluster has no SCAN of its own; Redis has no nodes.
  const cluster = client as unknown as { nodes(role: 'master'): readonly RedisScanner[] };
  return client.isCluster ? cluster.nodes('master') : [client as unknown as RedisScanner];
}
