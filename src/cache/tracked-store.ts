import type { LocalStore, LocalTags, SharedTier } from './driver.js';

/**
 * The memory before a tier that tells of every change: it keeps something only while it would hear of
 * its change, and nothing of what was read before it began to hear. So a copy lives as long as its
 * entry, and no longer than the news takes to come; but for what lives `unheardMs` at most, by which
 * it may be old.
 *
 * The order that makes two connections safe: a ticket is taken before the value is asked for, and a
 * change that is told meanwhile voids it (`LocalStore.begin`).
 */
export function trackedStore(store: LocalStore, tier: SharedTier, unheardMs: number): LocalStore {
  let isLive = false;
  tier.follow?.({
    live() {
      // Whatever is under way was asked for before anybody listened.
      store.clear();
      isLive = true;
    },
    lost() {
      isLive = false;
      store.clear();
    },
    changed(key) {
      if (key === undefined) store.clear();
      else store.delete(key);
    },
    renewed: (tag) => store.tags.renewed(tag),
  });
  const tags: LocalTags = {
    get moment() {
      return store.tags.moment;
    },
    get: store.tags.get,
    note(tag, version, since) {
      if (isLive) store.tags.note(tag, version, since);
    },
    renewed: store.tags.renewed,
  };
  return {
    get entryCount() {
      return store.entryCount;
    },
    get evictionCount() {
      return store.evictionCount;
    },
    get byteCount() {
      return store.byteCount;
    },
    tags,
    get: store.get,
    begin: store.begin,
    put: (ticket, value, validity) =>
      isLive || validity.forMs <= unheardMs ? store.put(ticket, value, validity) : 'refused',
    end: store.end,
    delete: store.delete,
    clear: store.clear,
  };
}
