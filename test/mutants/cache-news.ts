import type { Mutant } from './mutant.js';

const machine = (name: string) =>
  ({ project: 'unit', file: 'test/unit/redis/cache-news.test.ts', name }) as const;
const real = (name: string) =>
  ({ project: 'integration', file: 'test/integration/cache-news.test.ts', name }) as const;
const broken = (name: string) =>
  ({ project: 'fault', file: 'test/fault/cache-news.test.ts', name }) as const;

/** Faults of memory that is kept coherent by what writers publish. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-news-floor-is-not-compared',
    file: 'src/drivers/redis/cache-news.ts',
    find: '  const effects = known.upTo < floor ? [CLEAR] : [];',
    replace: '  const effects = known.upTo < floor ? [CLEAR].slice(1) : [];',
    tests: machine('a beat that tells of its change'),
    why: 'A lost message leaves an old copy until its end.',
  },
  {
    id: 'cache-news-stranger-is-believed',
    file: 'src/drivers/redis/cache-news.ts',
    find: '  const known = state.publishers.get(publisher) ?? UNHEARD;\n  const effects',
    replace:
      '  const known = state.publishers.get(publisher) ?? { ...UNHEARD, upTo: floor };\n  const effects',
    tests: machine('a beat that tells of its change'),
    why: 'What a process told before anybody heard of it counts as heard.',
  },
  {
    id: 'cache-news-gap-is-skipped',
    file: 'src/drivers/redis/cache-news.ts',
    find: '  while (later[0] === upTo + 1) upTo',
    replace: '  while (later.length > 0) upTo',
    tests: machine('a beat that tells of its change'),
    why: 'The next message hides the one that was lost before it.',
  },
  {
    id: 'cache-news-late-change-is-ignored',
    file: 'src/drivers/redis/cache-news.ts',
    find: 'known.ahead.includes(number)) return [state, [drop]];',
    replace: 'known.ahead.includes(number)) return [state, [drop].slice(1)];',
    tests: machine('a beat that tells of its change'),
    why: 'A change that ran after its writer gave up leaves old copies.',
  },
  {
    id: 'cache-news-change-counts-as-a-beat',
    file: 'src/drivers/redis/cache-news.ts',
    find: '  const next = caughtUp(known, known.upTo, [...known.ahead, number]);',
    replace:
      '  const next = caughtUp({ ...known, missedCount: 0 }, known.upTo, [...known.ahead, number]);',
    tests: machine('three silent seconds of a publisher'),
    why: 'Without beats a publisher that still tells something is trusted for ever.',
  },
  {
    id: 'cache-news-silence-is-forgotten',
    file: 'src/drivers/redis/cache-news.ts',
    find: 'publishers.size < all.size ? [CLEAR] : []];',
    replace: 'publishers.size > all.size ? [CLEAR] : []];',
    tests: machine('three silent seconds of a publisher'),
    why: 'A writer that died between a change and its message leaves old copies.',
  },
  {
    id: 'cache-news-deaf-goes-on',
    file: 'src/drivers/redis/cache-news.ts',
    find: '  const all = new Map([[state.self, UNHEARD], ...state.publishers]);',
    replace: '  const all = new Map([...state.publishers, [state.self, UNHEARD]]);',
    tests: machine('did not hear itself'),
    why: 'A process to which the bus brings nothing goes on answering from memory.',
  },
  {
    id: 'cache-news-old-connection-counts',
    file: 'src/drivers/redis/cache-news.ts',
    find: "  if (state.phase === 'closed') return [state, []];",
    replace: "  if (state.self === '') return [state, []];",
    tests: machine('did not hear itself'),
    why: 'A last message of a connection that is gone lets memory keep what nobody tells of.',
  },
  {
    id: 'cache-news-goodbye-is-silence',
    file: 'src/drivers/redis/cache-changes.ts',
    find: "      if (cancel !== undefined && client.status === 'ready') await say('bye', floor(), GOODBYE_MS);",
    replace: "      if (cancel === undefined) await say('bye', floor(), GOODBYE_MS);",
    tests: real('processes that start, write and close'),
    why: 'Every process that ends empties the memory of all others.',
  },
  {
    id: 'cache-news-touch-is-silent',
    file: 'src/drivers/redis/cache.ts',
    find: 'changes.script(TOUCH,',
    replace: 'silentChanges(calls, client).script(TOUCH,',
    tests: real('sees a write, a removal, a shorter life'),
    why: 'An entry whose life was cut short lives on in other memories.',
  },
  {
    id: 'cache-news-tags-are-silent',
    file: 'src/drivers/redis/cache-tags.ts',
    find: "  return { of: 'tags', names };",
    replace: "  return { of: 'tags', names: names.slice(0, 0) };",
    tests: real('sees a write, a removal, a shorter life'),
    why: 'An invalidated tag stays good in other memories.',
  },
  {
    id: 'cache-news-auto-flips-silently',
    file: 'src/drivers/redis/cache-follow.ts',
    find: '          onFallback(error);',
    replace: '          if (error === undefined) onFallback(error);',
    tests: real("'auto' where tracking is refused"),
    why: 'Nobody learns that the promise has become a weaker one.',
  },
  {
    id: 'cache-news-auto-publishes-late',
    file: 'src/drivers/redis/cache.ts',
    find: "    news === 'tracking' ? undefined : cachePublisher",
    replace: "    news !== 'bus' ? undefined : cachePublisher",
    tests: real("'auto' where tracking is allowed"),
    why: 'A node that may track does not tell those that may not.',
  },
  {
    id: 'cache-news-hanging-call-hides-others',
    file: 'src/drivers/redis/cache-changes.ts',
    find: 'if (number <= lastAtBeat) underWay.delete(number);',
    replace: 'if (number < 0) underWay.delete(number);',
    tests: machine('a call that hangs holds back'),
    why: 'While one call hangs, nobody notices that later messages were lost.',
  },
  {
    id: 'cache-news-without-beats',
    file: 'src/drivers/redis/cache-changes.ts',
    find: '    floorBefore = floor();',
    replace: '    floorBefore = 0;',
    tests: broken('a lost message'),
    why: 'No beat ever says that something was told, so nothing is missed.',
  },
];
