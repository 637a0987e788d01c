import type { CallBounds } from '../../cache/driver.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import type { CacheCalls } from './cache-calls.js';
import { type RedisCacheClient, type RedisScanner, scannersOf } from './cache-client.js';
import type { CacheKeys } from './cache-keys.js';
import { END_LEASE } from './cache-scripts.js';
import { unknown } from './errors.js';

const PAGE_SIZE = 500;

/**
 * Removes a cache's entries, and before them its leases: a fill that came before its lease was ended
 * wrote an entry before the entries were looked through, and SCAN answers every key that is there
 * from its beginning to its end; a fill that comes after is refused.
 */
export async function clearCache(
  cache: {
    readonly calls: CacheCalls;
    readonly client: RedisCacheClient;
    readonly keys: CacheKeys;
    readonly clock: Clock;
  },
  { timeoutMs }: CallBounds,
): Promise<void> {
  const { calls, client, keys, clock } = cache;
  const since = instantOf(clock);
  const bounds = (): CallBounds => {
    const leftMs = timeoutMs - elapsedMs(clock, since);
    if (leftMs <= 0) throw unknown('clear', `it was not done within ${timeoutMs} ms`);
    return { timeoutMs: leftMs };
  };
  const eachKey = async (
    server: RedisScanner,
    pattern: string,
    remove: (key: string, bounds: CallBounds) => Promise<unknown>,
  ): Promise<void> => {
    let cursor = '0';
    do {
      const from = cursor;
      const scan = () => server.scan(from, 'MATCH', pattern, 'COUNT', PAGE_SIZE);
      const [next, found] = await calls.send('SCAN', scan, bounds());
      // One bound for a page: it must not throw while some of the page is already under way.
      const left = bounds();
      await Promise.all(found.map((key) => remove(keys.withoutPrefix(key), left)));
      cursor = next;
    } while (cursor !== '0');
  };
  const servers = scannersOf(client);
  for (const server of servers) {
    await eachKey(server, keys.claimPattern, (key, left) =>
      calls.script(END_LEASE, [key], [], left),
    );
  }
  for (const server of servers) {
    await eachKey(server, keys.entryPattern, (key, left) =>
      calls.send('UNLINK', () => client.unlink(key), left),
    );
  }
}
