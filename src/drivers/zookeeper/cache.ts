import { type CasStore, casTier } from '../../cache/cas-tier.js';
import type { CacheNode, SharedCacheDriver } from '../../cache/driver.js';
import { onAbort } from '../../core/abort.js';
import { deferred } from '../../core/deferred.js';
import { assertNumber } from '../../core/validate.js';
import { nodeCopies } from './cache-copies.js';
import {
  type CacheStore,
  cacheNode,
  contendedError,
  isYoung,
  pathOf,
  readCopied,
  renewGeneration,
  type Target,
  withinBounds,
} from './cache-nodes.js';
import { cacheSweep, SWEPT_AFTER_MS } from './cache-sweep.js';
import { zookeeperTags } from './cache-tags.js';
import { expectOk } from './codes.js';
import type { Connection } from './connection.js';
import { encodeName } from './names.js';
import { connectionOf, type ZookeeperSession } from './session.js';

/** Options of {@link zookeeperCache}. */
export interface ZookeeperCacheOptions {
  /** From `zookeeper()`. It is not closed with the cache. */
  readonly session: ZookeeperSession;
  /**
   * Of how many keys this process keeps a copy, which a watch keeps coherent; 1 to 100,000. Default
   * 1,000.
   */
  readonly copiesMax?: number | undefined;
}

const COPIES_MAX_DEFAULT = 1_000;
const COPIES_MAX_LIMIT = 100_000;

/**
 * A small, coherent cache for what is read much and changed seldom: prices, switches, routing.
 *
 * A value is a znode below `‹chroot›/tricord/‹namespace›/caches/‹name›`. Each process keeps copies that
 * watches keep coherent, so a read of a known key asks nobody. Every write is a round trip through
 * the leader to a majority's disks, and all keys stand in one directory: not for bulk data, not for
 * values over 1,000,000 bytes, not for hundreds of writes a second, not for over 10,000 keys.
 *
 * Reads of one process never go back, and see its own writes; a write of another process is seen as
 * soon as the watch has told of it; a `linearizable` read sees what was acknowledged before. While the session is not connected nothing is answered from a
 * copy. Times to live are compared with the leader's clock, as far as the last write told it. What was
 * removed or has ended is swept from the directory after an hour.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a session that `zookeeper()` did not make, and for a
 * `copiesMax` out of its bounds.
 */
export function zookeeperCache(options: ZookeeperCacheOptions): SharedCacheDriver {
  const connection = connectionOf(options?.session);
  const { copiesMax = COPIES_MAX_DEFAULT } = options;
  assertNumber('copiesMax', copiesMax, { min: 1, max: COPIES_MAX_LIMIT, integer: true });
  return {
    backend: 'zookeeper',
    scope: 'shared',
    lags: true,
    open: (node) => casTier(zookeeperStore(connection, node, copiesMax)),
  };
}

function zookeeperStore(
  connection: Connection,
  { name, encoding = 'utf8' }: CacheNode,
  copiesMax: number,
): CasStore<Target> {
  // One place more: for the generation.
  const copies = nodeCopies(copiesMax + 1);
  const base = `${connection.root}/caches/${encodeName(name)}`;
  const store: CacheStore = { connection, copies, base, encoding };
  const sweep = cacheSweep(store);
  return {
    tags: zookeeperTags(store),
    // What changed before is told to this session before it answers, so the copies are good too.
    sync: (bounds) =>
      withinBounds(store, 'sync', bounds, async ({ live, send }) => {
        expectOk(await send(live.ask.sync(base)), 'sync');
      }),
    read(key, bounds, finish) {
      sweep.begin();
      return readCopied(store, key, bounds).then(finish);
    },
    item(key, operation, bounds) {
      sweep.begin();
      return cacheNode(store, key, operation, bounds);
    },
    // A znode that was swept and made anew counts its versions from the beginning.
    isUsable: (target) => isYoung(connection, target, SWEPT_AFTER_MS / 2),
    contended: contendedError,
    clear: (bounds) =>
      withinBounds(store, 'clear the cache', bounds, (call) => renewGeneration(store, call)),
    changed: (key, signal) => changed(store, key, signal),
    async close() {
      sweep.end();
      copies.close();
    },
  };
}

/** Waits for a watch to tell of the key. */
async function changed(store: CacheStore, key: string, signal: AbortSignal): Promise<void> {
  const path = pathOf(store, key);
  const { copies, connection } = store;
  const { promise, resolve } = deferred<void>();
  const stopDrops = copies.onDrop(path, () => resolve());
  const stopAbort = onAbort(signal, () => resolve());
  try {
    const live = await connection.current('wait for a load', { signal });
    if (copies.get(live, path) === undefined) await copies.read(live, path);
    // Without a copy it changed already, or cannot be watched: the caller looks by itself.
    if (copies.get(live, path) !== undefined) await promise;
  } catch {
    // A hint only: the caller looks by itself.
  } finally {
    stopDrops();
    stopAbort();
  }
}
