import type { TierListener } from '../../cache/driver.js';
import type { CacheKeys } from './cache-keys.js';
import type { NewsMedium } from './cache-listening.js';

const CHANNEL = '__redis__:invalidate';

/**
 * Server-assisted client-side caching: `CLIENT TRACKING ON BCAST PREFIX …`, redirected to the very
 * connection that listens, so that the tracking lives and dies with it. Every change, expiry and
 * eviction of an entry of this cache, or of a version, is told by its name, and FLUSHALL by a null.
 */
export function cacheTracking(keys: CacheKeys, listener: TierListener): NewsMedium {
  const hearOf = (name: string): void => {
    const told = keys.told(name);
    if (told?.kind === 'entry') listener.changed(told.name);
    else if (told?.kind === 'tag') listener.renewed(told.name);
    else if (told !== undefined) listener.changed(undefined);
  };
  return {
    async listen(connection) {
      const id = Number(await connection.client('ID'));
      const prefixes = keys.trackedPrefixes.flatMap((prefix) => ['PREFIX', prefix]);
      await connection.client('TRACKING', 'ON', 'REDIRECT', id, 'BCAST', ...prefixes);
      await connection.subscribe(CHANNEL);
    },
    begun: listener.live,
    hear(names) {
      if (!Array.isArray(names)) listener.changed(undefined);
      else for (const name of names) hearOf(String(name));
    },
    check() {},
    ended: listener.lost,
  };
}
