import { type CasStore, casTier } from '../../cache/cas-tier.js';
import type { CacheNode, SharedCacheDriver } from '../../cache/driver.js';
import { sleep } from '../../core/abort.js';
import { parseAddresses } from './addresses.js';
import { unknown } from './errors.js';
import { memcachedItems, type Target } from './items.js';
import { memcachedKeys } from './keys.js';
import { memcachedTags } from './tags.js';

/** Options of {@link memcachedCache}. */
export interface MemcachedCacheOptions {
  /**
   * The servers: `'host:port'`, several with commas between or as a list; the port is 11211 where none
   * is given. Every process must name the same servers in the same words: each key lives on one of
   * them, found by the consistent hash "ketama".
   */
  readonly servers: string | readonly string[];
  /** Keeps deployments on one Memcached apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
}

const NAMESPACE_DEFAULT = 'default';
const POLL_MS_MIN = 10;
const POLL_MS_MAX = 100;
/**
 * A cache tier in Memcached 1.6.12 or newer, which all nodes with this cache's name share.
 *
 * It speaks the meta protocol over one connection a server, opened at the first call and closed by the
 * cache's `close()`; requests of one turn of the event loop leave in one message. A hit is one
 * request, a miss two and a fill.
 *
 * Reads, writes and invalidations of one key are ordered by its server. Memcached forgets at any time,
 * by eviction or restart: of an entry that is a miss; of a hold of `update` it means that a load which
 * began before the commit may be stored until its TTL. When the list of servers changes, a key that
 * moves to another server may later be found there as it was: use another namespace then.
 * Memcached counts in whole seconds and up to 30 days: an entry lasts up to a second less than its
 * TTL, one of less than a second up to one. Values are at most as large as the server's `-I` (1 MiB
 * by default). An evicted tag outdates what carries it; while the server of a tag is down, what
 * carries it is a miss. Other nodes' loads are waited for by asking again, every 10 to 100 ms.
 *
 * @throws TypeError (INVALID_ARGUMENT) for bad addresses or a bad namespace.
 */
export function memcachedCache(options: MemcachedCacheOptions): SharedCacheDriver {
  const { servers, namespace = NAMESPACE_DEFAULT } = options;
  parseAddresses(servers);
  memcachedKeys('check', namespace);
  return {
    backend: 'memcached',
    scope: 'shared',
    open: (node) => casTier(memcachedStore(node, servers, namespace)),
  };
}

function memcachedStore(
  { name, clock, random, encoding = 'utf8' }: CacheNode,
  servers: MemcachedCacheOptions['servers'],
  namespace: string,
): CasStore<Target> {
  const keys = memcachedKeys(name, namespace, encoding);
  const items = memcachedItems({ servers, keys, clock, random, encoding });
  return {
    tags: memcachedTags({ items, keys, clock, random }),
    read: items.read,
    item: items.item,
    isUsable: ({ connection }) => connection.isOpen,
    contended: (operation, attempts) =>
      unknown(operation, `the item was changed by others ${attempts} times`),
    clear: items.renewGenerations,
    async changed(key, signal) {
      const stepMs = (ms: number): number => Math.min(ms * 2, POLL_MS_MAX);
      try {
        for (let pauseMs = POLL_MS_MIN; !signal.aborted; pauseMs = stepMs(pauseMs)) {
          await sleep(clock, pauseMs, { signal });
          const item = items.item(key, 'changed', { timeoutMs: POLL_MS_MAX * 10 });
          if ((await item.look())?.state.kind !== 'lease') return;
        }
      } catch {
        // A hint only: the caller looks by itself.
      }
    },
    async close() {
      items.close();
    },
  };
}
