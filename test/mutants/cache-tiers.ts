import type { Mutant } from './mutant.js';

const aging = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/aging.test.ts', name }) as const;
const fencing = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/fencing.test.ts', name }) as const;
const memcachedContract = (name: string) =>
  ({ project: 'contract', file: 'test/contract/cache-memcached.test.ts', name }) as const;
const zookeeperContract = (name: string) =>
  ({ project: 'contract', file: 'test/contract/cache-zookeeper.test.ts', name }) as const;
const tracking = (name: string) =>
  ({ project: 'integration', file: 'test/integration/cache-tracking.test.ts', name }) as const;

/** Faults of what lets entries age, of coherent memory, and of the tiers in Memcached and ZooKeeper. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-aging-stale-for-get',
    file: 'src/cache/reading.ts',
    find: "  return age === 'fresh' || age === 'early';",
    replace: "  return age !== 'over';",
    tests: aging('never answer a stale value'),
    why: 'A read without a loader answers what is past its time.',
  },
  {
    id: 'cache-aging-no-backoff',
    file: 'src/cache/refresh.ts',
    find: '  if (elapsedMs(settings.clock, since) < settings.errorBackoffMs) return true;',
    replace: '  if (elapsedMs(settings.clock, since) < 0) return true;',
    tests: aging('is not tried again for errorBackoffMs'),
    why: 'Each request calls a source that is down.',
  },
  {
    id: 'cache-aging-refresh-without-single-flight',
    file: 'src/cache/refresh.ts',
    find: '  const isBusy = running.has(key) || running.size >= RUNNING_MAX;',
    replace: '  const isBusy = running.size >= RUNNING_MAX;',
    tests: aging('one load goes on behind it'),
    why: 'Every reader of a stale entry begins a load.',
  },
  {
    id: 'cache-aging-refresh-lease-is-found',
    file: 'src/drivers/memory/cache.ts',
    find: '      const entry = refresh ? undefined : entryOf(store, key);',
    replace: '      const entry = entryOf(store, key);',
    tests: aging('one load goes on behind it'),
    why: 'A stale entry is never refreshed.',
  },
  {
    id: 'cache-aging-grace-in-memory-before-a-shared-tier',
    file: 'src/cache/near.ts',
    find: '  const freshMs = Math.min(freshMsOf(aging, forMs), localTtlMs);',
    replace: '  const freshMs = Math.min(forMs, localTtlMs);',
    tests: aging('does not answer the stale entries'),
    why: 'Memory answers a stale copy as if it were new.',
  },
  {
    id: 'cache-aging-negative-without-end',
    file: 'src/cache/load-call.ts',
    find: 'NOT_KEPT : { value: ABSENT, ttlMs: negativeTtlMs };',
    replace: 'NOT_KEPT : { value: ABSENT, ttlMs: negativeTtlMs * 1_000 };',
    tests: aging('no longer than it says'),
    why: 'That there is nothing is kept for too long.',
  },
  {
    id: 'cache-aging-soft-timeout-keeps-newcomers-waiting',
    file: 'src/cache/loading.ts',
    find: '    if (deck.flights.get(key) === flight) deck.flights.delete(key);\n    flight.land(stale);',
    replace: '    flight.land(stale);',
    tests: aging('while the load goes on, and others at once'),
    why: 'After a soft time-out the next callers wait for the hung load.',
  },
  {
    id: 'cache-fence-older-token-passes',
    file: 'src/drivers/memory/cache-fences.ts',
    find: '      if (isRemembered && seen.fence > fence) return { newest: seen.fence };',
    replace: '      if (isRemembered && seen.fence < fence) return { newest: seen.fence };',
    tests: fencing('is refused when the key has seen a newer one'),
    why: 'A paused lock holder overwrites what came after it.',
  },
  {
    id: 'cache-tracking-fills-before-listening',
    file: 'src/cache/tracked-store.ts',
    find: "      isLive || validity.forMs <= unheardMs ? store.put(ticket, value, validity) : 'refused',",
    replace: '      store.put(ticket, value, validity),',
    tests: {
      project: 'unit',
      file: 'test/unit/cache/tracked-store.test.ts',
      name: 'keeps nothing before it hears',
    },
    why: 'Memory keeps what it would not hear the change of.',
  },
  {
    id: 'cache-tracking-silence-unnoticed',
    file: 'src/drivers/redis/cache-listening.ts',
    find: "    later(PING_EVERY_MS, () => failed(ofRound, new Error('a connection that listens is silent')));",
    replace: '    later(PING_EVERY_MS * 60, () => {});',
    tests: tracking('a half-open connection is noticed'),
    why: 'A connection that is cut off half-way leaves old copies for ever.',
  },
  {
    id: 'cache-tracking-flush-unheard',
    file: 'src/drivers/redis/cache-tracking.ts',
    find: '      if (!Array.isArray(names)) listener.changed(undefined);',
    replace: '      if (!Array.isArray(names)) return;',
    tests: tracking('FLUSHALL empties memory too'),
    why: 'A flushed server leaves copies behind.',
  },
  {
    id: 'cache-cas-fill-of-a-cleared-generation',
    file: 'src/cache/cas-tier.ts',
    find: "  return change.state === 'done' && change.isCurrent ? 'stored' : 'refused';",
    replace: "  return change.state === 'done' ? 'stored' : 'refused';",
    tests: memcachedContract('a fill whose load began before a clear'),
    why: 'A fill that nobody will ever read is told to be stored.',
  },
  {
    id: 'cache-cas-foreign-hold-removed',
    file: 'src/cache/cas-tier.ts',
    find: '    return held.state.token === holdToken ? isRemoved(held.target) : true;',
    replace: '    return isRemoved(held.target);',
    tests: memcachedContract('until its holder invalidates'),
    why: 'An invalidation ends the hold of a writer that is about to commit.',
  },
  {
    id: 'cache-memcached-blind-fill',
    file: 'src/drivers/memcached/items.ts',
    find: '`C${cas} T${secondsOf(state)} c`',
    replace: '`T${secondsOf(state)} c`',
    tests: memcachedContract('a fill whose load began before a invalidate'),
    why: 'The conditional store is unconditional, and brings back what was invalidated.',
  },
  {
    id: 'cache-memcached-clear-forgets-a-generation',
    file: 'src/drivers/memcached/item.ts',
    find: "  if (!isCurrent) return { kind: 'outdated' };",
    replace: "  if (!isCurrent && flags === LEASE) return { kind: 'outdated' };",
    tests: memcachedContract('clear removes every entry'),
    why: 'Entries of before a clear are still answered.',
  },
  {
    id: 'cache-zookeeper-copy-outlives-its-change',
    file: 'src/drivers/zookeeper/cache-copies.ts',
    find: '        isDirty = true;\n        drop(path);\n      });\n      const stopReconnect',
    replace: '        isDirty = true;\n      });\n      const stopReconnect',
    tests: zookeeperContract('no read that begins after an acknowledged write'),
    why: 'A watch tells of a change, and the old copy is answered all the same.',
  },
  {
    id: 'cache-zookeeper-unversioned-fill',
    file: 'src/drivers/zookeeper/cache-nodes.ts',
    find: '        send(live.ask.set(path, data, version)),',
    replace: '        send(live.ask.set(path, data, version - version + ANY_VERSION)),',
    tests: zookeeperContract('a fill whose load began before a invalidate'),
    why: 'A write names no version, and overwrites what came in between.',
  },
  {
    id: 'cache-zookeeper-unversioned-update',
    file: 'src/drivers/zookeeper/cache-nodes.ts',
    find: '        send(live.ask.set(path, data, version)),',
    replace: '        send(live.ask.set(path, data, version - version + ANY_VERSION)),',
    tests: zookeeperContract('of two updates at once'),
    why: 'Of two updates at once the one that committed first stays in the cache.',
  },
  {
    id: 'cache-zookeeper-attempts-have-no-end-in-time',
    file: 'src/drivers/zookeeper/cache-nodes.ts',
    find: '    if (left <= 0) throw overdueError(operation, path, bounds);',
    replace: '    if (left <= 0) return void overdueError ?? bounds.timeoutMs;',
    tests: { project: 'fault', file: 'test/fault/zookeeper-cache.test.ts', name: 'overtake' },
    why: 'A write that others overtake takes many times its time.',
  },
  {
    id: 'cache-zookeeper-sync-asks-nobody',
    file: 'src/drivers/zookeeper/cache.ts',
    find: "        expectOk(await send(live.ask.sync(base)), 'sync');",
    replace: "        expectOk(await send(live.ask.exists('/')), 'sync');",
    tests: {
      project: 'fault',
      file: 'test/fault/zookeeper-cache-ensemble.test.ts',
      name: 'waits until its server has caught up',
    },
    why: 'A read that promises what was acknowledged is answered by a server that lags behind.',
  },
  {
    id: 'cache-cas-gives-up-early',
    file: 'src/cache/cas-tier.ts',
    find: 'const ATTEMPTS_MAX = 64;',
    replace: 'const ATTEMPTS_MAX = 3;',
    tests: zookeeperContract('many writes of one key at once'),
    why: 'Where many write one key, some are told that they failed.',
  },
  {
    id: 'cache-memcached-connects-after-its-close',
    file: 'src/drivers/memcached/server.ts',
    find: "    if (closing.signal.aborted) {\n      socket.on('error'",
    replace: "    if (closing.signal.aborted && name === '') {\n      socket.on('error'",
    tests: {
      project: 'unit',
      file: 'test/unit/memcached/server.test.ts',
      name: 'keeps no connection',
    },
    why: 'A closed cache leaves a connection behind, and its process does not end.',
  },
];
