import type { Mutant } from './mutant.js';

const tags = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/tags.test.ts', name }) as const;
const batches = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/batches.test.ts', name }) as const;
const model = { project: 'unit', file: 'test/unit/cache/model.test.ts' } as const;
const redis = (name: string) =>
  ({ project: 'contract', file: 'test/contract/cache-redis.test.ts', name }) as const;
const memcached = (name: string) =>
  ({ project: 'contract', file: 'test/contract/cache-memcached.test.ts', name }) as const;
const memcachedServers = (name: string) =>
  ({ project: 'fault', file: 'test/fault/memcached-servers.test.ts', name }) as const;
const zookeeper = (name: string) =>
  ({ project: 'contract', file: 'test/contract/cache-zookeeper.test.ts', name }) as const;
const tracking = (name: string) =>
  ({ project: 'integration', file: 'test/integration/cache-tracking.test.ts', name }) as const;

/** Faults of tags, of clear, and of what is done to several keys at once. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-tags-epoch-not-compared',
    file: 'src/cache/tagging.ts',
    find: "  if (epoch !== before.epoch && !stamps.every(isSame)) return 'moved';",
    replace: '',
    tests: tags('is refused and done again'),
    why: 'A load that an invalidation of its tag overtook is stored as if it were new.',
  },
  {
    id: 'cache-tags-other-tags-refuse',
    file: 'src/cache/tagging.ts',
    find: "  if (epoch !== before.epoch && !stamps.every(isSame)) return 'moved';",
    replace: "  if (epoch !== before.epoch) return 'moved';",
    tests: tags('do not mind that others are invalidated'),
    why: 'Where tags are invalidated often, nothing with tags is ever stored.',
  },
  {
    id: 'cache-tags-memory-answers-outdated',
    file: 'src/drivers/memory/cache-store.ts',
    find: '        if (local?.tags !== undefined && !tags.areCurrent(local.tags)) return undefined;',
    replace: '',
    tests: tags('takes what carries it, and nothing else'),
    why: 'Memory goes on answering what was invalidated by a tag.',
  },
  {
    id: 'cache-tags-own-memory-forgets-nothing',
    file: 'src/cache/writing.ts',
    find: '        for (const tag of tags) near?.tags.renewed(tag);',
    replace: '',
    tests: model,
    why: 'The node that invalidated a tag still sees its own old copies.',
  },
  {
    id: 'cache-tags-late-version-is-noted',
    file: 'src/drivers/memory/cache-tags.ts',
    find: '      if ((renewals.get(tag) ?? otherMoment) > since || versions.get(tag) === version) return;',
    replace: '      if (versions.get(tag) === version) return;',
    tests: { project: 'unit', file: 'test/unit/cache/tracked-store.test.ts', name: 'version' },
    why: 'A version that was read before a renewal was told comes back after it.',
  },
  {
    id: 'cache-redis-clear-refuses-no-fill',
    file: 'src/drivers/redis/cache-scripts.ts',
    find: 'local isCurrent = not current or current == generation',
    replace: 'local isCurrent = true',
    tests: redis('a plain client clear refuses the loads that had begun'),
    why: 'Who joins a load after a clear is answered with what was loaded before it.',
  },
  {
    id: 'cache-redis-entries-of-any-generation',
    file: 'src/drivers/redis/cache-entry.ts',
    find: '  const isCurrent = generation !== undefined && stored.startsWith(generation, 2);',
    replace: '  const isCurrent = generation !== undefined;',
    tests: {
      project: 'integration',
      file: 'test/integration/cache-redis.test.ts',
      name: 'clear outdates thousands',
    },
    why: 'Clear removes nothing once somebody has stored again.',
  },
  {
    id: 'cache-redis-epoch-survives-a-renewal',
    file: 'src/drivers/redis/cache-tags.ts',
    find: '      if (!client.isCluster) return end(tags, [keys.epoch]);',
    replace: '      if (!client.isCluster) return end(tags);',
    tests: redis('a plain client the epoch of a lease'),
    why: 'A load whose tag was invalidated before it was ever used is stored.',
  },
  {
    id: 'cache-redis-tags-are-not-told',
    file: 'src/drivers/redis/cache-tracking.ts',
    find: "    else if (told?.kind === 'tag') listener.renewed(told.name);",
    replace: "    else if (told?.kind === 'tag') return;",
    tests: tracking('another node sees an invalidated tag'),
    why: 'Other nodes keep answering what was invalidated by a tag.',
  },
  {
    id: 'cache-memcached-epoch-survives-a-renewal',
    file: 'src/drivers/memcached/tags.ts',
    find: '      await remove(keys.epoch, leftMs());',
    replace: '',
    tests: memcached('the epoch of a lease'),
    why: 'A load whose tag was invalidated before it was ever used is stored.',
  },
  {
    id: 'cache-memcached-version-comes-again',
    file: 'src/drivers/memcached/tags.ts',
    find: '      const own = random.token(VERSION_LENGTH);',
    replace: "      const own = '1'.padEnd(VERSION_LENGTH - (random === undefined ? 1 : 0));",
    tests: memcachedServers('never come again'),
    why: 'A tag that was lost with its server has its first version again, and old entries with it.',
  },
  {
    id: 'cache-memcached-unknown-tag-is-current',
    file: 'src/cache/tag-calls.ts',
    find: '      return asked.every(({ version }, index) => version === versions[index]);',
    replace:
      '      return asked.every(({ version }, index) => version === (versions[index] ?? version));',
    tests: memcachedServers('is a miss from then on'),
    why: 'What carries a tag that was lost with its server is answered, whatever was invalidated.',
  },
  {
    id: 'cache-memcached-epoch-uses-up-the-lease',
    file: 'src/cache/cas-tier.ts',
    find: 'epoch({ timeoutMs: bounds.timeoutMs / 2 })',
    replace: 'epoch({ timeoutMs: bounds.timeoutMs * 2 })',
    tests: memcachedServers('reads of the others go on'),
    why: 'While the server of the epoch is frozen, no other server stores anything.',
  },
  {
    id: 'cache-zookeeper-tags-share-a-version',
    file: 'src/drivers/zookeeper/cache-tags.ts',
    find: '  const pathOf = (tag: string): string => `${store.base}/${TAG_PREFIX}${encodeName(tag)}`;',
    replace:
      '  const pathOf = (_: string): string => `${store.base}/${TAG_PREFIX}${encodeName("")}`;',
    tests: zookeeper('any well-formed tag is a tag of its own'),
    why: 'One invalidated tag takes what carries any other.',
  },
  {
    id: 'cache-batch-does-not-wait-for-all-keys',
    file: 'src/cache/load-batch.ts',
    find: '    if (isDue || undecided.size > 0 || wanted.size === 0) return;',
    replace: '    if (isDue || wanted.size === 0) return;',
    tests: batches('until it is known of every key'),
    why: 'The loader of several keys is called several times.',
  },
  {
    id: 'cache-batch-waits-for-somebody-else',
    file: 'src/cache/looking.ts',
    find: '    request.onWait?.();\n    return join',
    replace: '    return join',
    tests: batches('keeps nobody waiting'),
    why: 'A batch waits for the slowest load of another caller before it begins its own.',
  },
  {
    id: 'cache-touch-of-what-a-tag-has-taken',
    file: 'src/cache/authority-reads.ts',
    find: "    return current.state === 'found' && !current.local.isAbsent;",
    replace: '    return state !== undefined && !found.local.isAbsent;',
    tests: batches('touch over memory before'),
    why: 'Touch says that there is an entry which no read would answer.',
  },
];
