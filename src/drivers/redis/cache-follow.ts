import type { CacheNode, TierListener } from '../../cache/driver.js';
import { cacheBus } from './cache-bus.js';
import type { CachePublisher } from './cache-changes.js';
import type { RedisCacheClient } from './cache-client.js';
import type { CacheKeys } from './cache-keys.js';
import { type CacheListening, cacheListening, type NewsMedium } from './cache-listening.js';
import { cacheTracking } from './cache-tracking.js';

/** How memory before Redis hears of changes; see `RedisCacheOptions.news`. */
export type RedisCacheNews = 'tracking' | 'bus' | 'auto';

/** What a server answers that never lets this user track, whatever is tried again. */
const REFUSED_FOR_GOOD = /^NOPERM\b|^ERR unknown (sub)?command/i;

/** Listens in the way that was chosen. Without a publisher that is tracking. */
export function cacheFollow(parts: {
  readonly node: CacheNode;
  readonly client: RedisCacheClient;
  readonly keys: CacheKeys;
  readonly news: RedisCacheNews;
  readonly publisher: CachePublisher | undefined;
  readonly listener: TierListener;
}): CacheListening {
  const { node, client, keys, news, publisher, listener } = parts;
  const { clock, random } = node;
  const tracking = cacheTracking(keys, listener);
  const bus = publisher && cacheBus(keys, publisher, listener);
  const both = bus && fallingBack(tracking, bus, (error) => node.onFallback?.(error));
  const medium = { tracking, bus: bus ?? tracking, auto: both ?? tracking }[news];
  const onFailure = (error: unknown): void => node.onFailure?.('follow', error);
  return cacheListening({ client, medium, clock, random, onFailure });
}

/** Tracking until the server refuses it for good; from then on, and to the end, the bus. */
function fallingBack(
  tracking: NewsMedium,
  bus: NewsMedium,
  onFallback: (error: unknown) => void,
): NewsMedium {
  let medium = tracking;
  return {
    async listen(connection) {
      const asked = medium;
      try {
        await asked.listen(connection);
      } catch (error) {
        const isRefused = error instanceof Error && REFUSED_FOR_GOOD.test(error.message);
        if (medium === tracking && isRefused) {
          medium = bus;
          onFallback(error);
        }
        throw error;
      }
    },
    begun: () => medium.begun(),
    hear: (message) => medium.hear(message),
    check: () => medium.check(),
    ended: () => medium.ended(),
  };
}
