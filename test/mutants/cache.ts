import type { Mutant } from './mutant.js';

const unit = (file: string, name?: string) =>
  ({ project: 'unit', file: `test/unit/cache/${file}.test.ts`, name }) as const;
const memoryContract = (name: string) =>
  ({ project: 'contract', file: 'test/contract/cache-memory.test.ts', name }) as const;
const redisContract = (name: string) =>
  ({ project: 'contract', file: 'test/contract/cache-redis.test.ts', name }) as const;

/** Faults of the cache: its engine, and its tiers in memory and in Redis. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-no-single-flight',
    file: 'src/cache/looking.ts',
    find: '  const flight = flights.get(key);\n',
    replace: '  const flight = flights.get(`${key} `);\n',
    tests: unit('get-or-load', 'ask it once'),
    why: 'Every concurrent caller asks the shared tier and contends for the lease by itself.',
  },
  {
    id: 'cache-look-answers-who-came-later',
    file: 'src/cache/looking.ts',
    find: '  if (present !== undefined) takeOff(deck, present);',
    replace: `  if (present !== undefined) {
    return new Promise((resolve, reject) => {
      const { resolve: first, reject: failed } = present;
      Object.assign(present, {
        resolve: (value: unknown) => [first(value), resolve(value)],
        reject: (error: unknown) => [failed(error), reject(error)],
      });
    });
  }`,
    tests: unit('looking', 'who comes later than the question'),
    why: 'A read that begins after an acknowledged write has the answer to an earlier question.',
  },
  {
    id: 'cache-look-joined-takes-a-later-ticket',
    file: 'src/cache/loading.ts',
    find: 'const ticket = trip.question?.ticket ?? near?.begin(flight.key);',
    replace: 'const ticket = near?.begin(flight.key);',
    tests: unit('looking', 'keeps no copy'),
    why: 'What was deleted while it was read is kept in memory.',
  },
  {
    id: 'cache-look-without-an-end',
    file: 'src/cache/looking.ts',
    find: '  if (isBounded && signal === undefined) return undefined;',
    replace: '  if (signal === undefined) return undefined;',
    tests: unit('looking', 'no longer than it may'),
    why: 'A read waits for the tier although the time of its caller is up.',
  },
  {
    id: 'cache-look-survives-the-close',
    file: 'src/cache/engine.ts',
    find: '    failLooks(deck, closedError(`cache ${settings.name}`));\n',
    replace: '',
    tests: unit('looking', 'told CLOSED'),
    why: 'A call of a closed cache goes on, and calls its loader.',
  },
  {
    id: 'cache-lease-answers-a-linearizable-read',
    file: 'src/cache/loading.ts',
    find: 'needsSync(trip) ? trip.lookedAsOf : asOf',
    replace: 'needsSync(trip) ? asOf : asOf',
    tests: unit('looking', 'not answered by an earlier question'),
    why: 'Who came after the tier had caught up is given what it had before.',
  },
  {
    id: 'cache-lease-first-for-ever',
    file: 'src/cache/looks.ts',
    find: 'looks.missCount = isMiss ? looks.missCount + 1 : 0;',
    replace: 'looks.missCount = isMiss ? looks.missCount + 1 : looks.missCount;',
    tests: unit('looking', 'without a look, until a key is there'),
    why: 'Hits go on to cost the server a lease that they do not need.',
  },
  {
    id: 'cache-lease-first-is-not-counted',
    file: 'src/cache/authority-leases.ts',
    find: "    if (isCounted && answer.state === 'found') counter.hitCount += 1;",
    replace: "    if (isCounted && answer.state === 'found') counter.hitCount += 0;",
    tests: unit('looking', 'each is counted once'),
    why: 'Hits of the shared tier are missing in its statistics.',
  },
  {
    id: 'cache-late-caller-gets-what-was-asked-for-before-it-came',
    file: 'src/cache/flight.ts',
    find: 'return sighting !== undefined && caller.number <= sighting.asOf;',
    replace: 'return sighting !== undefined && caller.number <= sighting.asOf + 1e9;',
    tests: unit('get-or-load', 'joins after the value was asked for'),
    why: 'A read that begins after an acknowledged delete answers the old value.',
  },
  {
    id: 'cache-refused-fill-is-not-loaded-again',
    file: 'src/cache/loading.ts',
    find: 'return loadCount < LOADS_MAX ? undefined : sighting;',
    replace: 'return loadCount < LOADS_MAX - LOADS_MAX ? undefined : sighting;',
    tests: unit('get-or-load', 'after three refused loads'),
    why: 'A load that a write overtook is given out as it is.',
  },
  {
    id: 'cache-promotion-with-a-fresh-ttl',
    file: 'src/cache/near.ts',
    find: 'Math.min(freshMsOf(aging, forMs), localTtlMs);',
    replace: 'Math.max(freshMsOf(aging, forMs), localTtlMs);',
    tests: unit('get-or-load', 'what is left of it'),
    why: 'Memory outlives the entry that it is a copy of.',
  },
  {
    id: 'cache-near-copy-survives-a-delete',
    file: 'src/cache/writing.ts',
    find: `    async delete(key, { timeoutMs, fence }) {
      near?.delete(key);
      try {
        await authority.invalidate(key, undefined, timeoutMs, fence);
      } finally {
        near?.delete(key);
      }`,
    replace: `    async delete(key, { timeoutMs, fence }) {
      try {
        await authority.invalidate(key, undefined, timeoutMs, fence);
      } finally {
      }`,
    tests: unit('model', 'both'),
    why: 'The node that deleted still reads the old value.',
  },
  {
    id: 'cache-void-ticket-is-honoured',
    file: 'src/drivers/memory/cache-store.ts',
    find: 'if (ticket.isVoid || remainingMs(clock, validity) <= 0)',
    replace: 'if (remainingMs(clock, validity) <= 0)',
    tests: unit('memory-store', 'asked for before the key was removed'),
    why: 'A slow read puts the old value back into memory after the delete.',
  },
  {
    id: 'cache-suspension-is-not-noticed',
    file: 'src/core/coarse-clock.ts',
    find: 'return wallMs >= endWallMs || monotonicMs >= endMonotonicMs;',
    replace: 'return monotonicMs >= endMonotonicMs;',
    tests: unit('get-or-load', 'suspended'),
    why: 'After a night in a suspended laptop everything is still fresh.',
  },
  {
    id: 'cache-coalesced-waiter-counted-as-hit',
    file: 'src/cache/flight.ts',
    find: "if (isStale || (answer !== undefined && state === 'looking')) counters.hitCount += 1;",
    replace:
      "if (isStale || (answer !== undefined && state !== 'loading')) counters.hitCount += 1;",
    tests: unit('get-or-load', 'share one load'),
    why: 'The hit rate of a stampede looks splendid.',
  },
  {
    id: 'cache-hit-rate-of-nothing',
    file: 'src/cache/stats.ts',
    find: 'hitRate: requestCount === 0 ? undefined : hitCount / requestCount',
    replace: 'hitRate: requestCount === 0 ? 1 : hitCount / requestCount',
    tests: unit('model'),
    why: 'A cache that nobody asked reports 100 %.',
  },
  {
    id: 'cache-lease-is-not-renewed',
    file: 'src/cache/claims.ts',
    find: "if (answer !== 'lost') cancel = schedule();",
    replace: "if (answer === 'lost') cancel = schedule();",
    tests: unit('get-or-load', 'lease is renewed'),
    why: 'A load slower than the lease is never stored.',
  },
  {
    id: 'cache-read-waits-for-a-frozen-tier',
    file: 'src/cache/loading.ts',
    find: '  trip.tierMsLeft -= trip.deck.present().monotonicMs - since.monotonicMs;',
    replace: '  trip.tierMsLeft -= since.monotonicMs - since.monotonicMs;',
    tests: unit('failures', 'only the rest of its time'),
    why: 'A slow Redis costs a read its time twice before the loader answers.',
  },
  {
    id: 'cache-update-commits-without-the-hold',
    file: 'src/cache/writing.ts',
    find: '        throw toldCommitted(error, false);',
    replace: '',
    tests: unit('failures', 'lets no update commit'),
    why: 'The write happens though nobody was stopped from storing the old value.',
  },
  {
    id: 'cache-prototype-key-is-assigned',
    file: 'src/cache/isolation.ts',
    find: "if (name === '__proto__') {",
    replace: "if (name === '__proto') {",
    tests: unit('codec', 'exactly'),
    why: 'A stored __proto__ becomes the prototype of what is read.',
  },
  {
    id: 'cache-minus-zero-is-zero',
    file: 'src/cache/isolation.ts',
    find: 'if (!Number.isFinite(value) || Object.is(value, -0)) walk.isBare = false;',
    replace: 'if (!Number.isFinite(value)) walk.isBare = false;',
    tests: unit('codec', 'exactly'),
    why: 'A value comes back from Redis as another one.',
  },
  {
    id: 'cache-plain-object-read-as-a-tag',
    file: 'src/cache/codec.ts',
    find: 'return looksTagged(value) ? { $plain: tagProperties(value) } : tagProperties(value);',
    replace: 'return tagProperties(value);',
    tests: unit('codec', 'exactly'),
    why: 'A user’s object with a $date in it comes back as a Date.',
  },
  {
    id: 'cache-object-shared-with-its-reader',
    file: 'src/cache/isolation.ts',
    find: 'return local.copy === undefined ? isolate(key, local.value).value : local.copy(local.value);',
    replace: 'return local.copy === undefined ? local.value : local.copy(local.value);',
    tests: unit('codec', 'copied for each reader'),
    why: 'A reader that changes a Date or Map changes the cache.',
  },
  {
    id: 'cache-memory-invalidate-leaves-the-lease',
    file: 'src/drivers/memory/cache.ts',
    find: "    if (claimOf(key)?.kind === 'lease') claims.delete(key);",
    replace: '    if (claimOf(key)?.kind === undefined) claims.delete(key);',
    tests: memoryContract('began before a invalidate'),
    why: 'A reader that loaded the old value stores it after the writer deleted.',
  },
  {
    id: 'cache-redis-fill-ignores-the-token',
    file: 'src/drivers/redis/cache-scripts.ts',
    find: "if (kind ~= '1l' and kind ~= '1w') or string.sub(claim, 25) ~= token then return 0 end",
    replace: "if kind ~= '1l' and kind ~= '1w' then return 0 end",
    tests: redisContract('a plain client.*(another attempt has the lease|before a seize)'),
    why: 'A load that an invalidation overtook is stored under somebody else’s lease.',
  },
  {
    id: 'cache-redis-invalidate-leaves-the-lease',
    file: 'src/drivers/redis/cache-scripts.ts',
    find: "elseif claim ~= '' then\n  redis.call('del', KEYS[2])",
    replace: "elseif claim == '' then\n  redis.call('del', KEYS[2])",
    tests: redisContract('a plain client.*(before a invalidate|on two nodes)'),
    why: 'A reader that loaded the old value stores it after the writer deleted.',
  },
  {
    id: 'cache-redis-second-writer-ends-the-first-hold',
    file: 'src/drivers/redis/cache-scripts.ts',
    find: "if kind == '1h' and claim ~= ARGV[1] and",
    replace: "if kind == '1x' and claim ~= ARGV[1] and",
    tests: redisContract('a plain client.*a held key'),
    why: 'A plain delete lets readers store what an update is about to replace.',
  },
  {
    id: 'cache-redis-names-of-caches-run-together',
    file: 'src/drivers/redis/cache-keys.ts',
    find: "encodeTag(name).replaceAll(':', '%3A');",
    replace: "encodeTag(name).replaceAll(';', '%3A');",
    tests: redisContract('a plain client.*different names'),
    why: 'Clearing the cache `a` removes the entries of `a:b`.',
  },
  {
    id: 'cache-close-leaves-calls-under-way',
    file: 'src/drivers/redis/cache-calls.ts',
    find: 'times.expireAll();',
    replace: '',
    tests: { project: 'unit', file: 'test/unit/redis/cache-calls.test.ts', name: 'disposing ends' },
    why: 'A process could not end before the time of its last call was up.',
  },
  {
    id: 'cache-forgotten-calls-count-for-ever',
    file: 'src/drivers/redis/cache-calls.ts',
    find: 'abandoned.clear();',
    replace: '',
    tests: {
      project: 'unit',
      file: 'test/unit/redis/cache-calls.test.ts',
      name: 'what a client forgot',
    },
    why: 'After some lost connections the cache would never ask Redis again.',
  },
  {
    id: 'cache-wakeups-not-subscribed-when-ready',
    file: 'src/drivers/redis/cache-wakeups.ts',
    find: "connection.on('ready', () => {",
    replace: "connection.on('wait', () => {",
    tests: {
      project: 'integration',
      file: 'test/integration/cache-redis.test.ts',
      name: 'followers are woken at once',
    },
    why: 'Followers would only poll.',
  },
  {
    id: 'cache-fill-has-time-of-its-own',
    file: 'src/cache/loading.ts',
    find: 'authority.fill(key, token, fill, Math.max(trip.tierMsLeft, 1))',
    replace: 'authority.fill(key, token, fill, tierTimeoutMs)',
    tests: unit('failures', 'rest of its time for the fill'),
    why: 'A read would wait twice as long for a slow tier as it was allowed to.',
  },
  {
    id: 'cache-update-keeps-what-a-read-brought-back',
    file: 'src/cache/writing.ts',
    find: '      // A read that was under way may have brought the old value back.\n      near?.delete(key);',
    replace: '',
    tests: unit('failures', 'a read that was under way'),
    why: 'While the commit runs, memory would answer what the update is about to change.',
  },
  {
    id: 'cache-hit-skips-the-checks',
    file: 'src/cache/reading.ts',
    find: '        const given = options && checked(options);\n        const found = passesBy(given) ? undefined : hitInFront(key);\n        if (found === undefined) return getFarther',
    replace:
      '        const given = checked(undefined);\n        const found = passesBy(given) ? undefined : hitInFront(key);\n        if (found === undefined) return getFarther',
    tests: unit('bad-input', 'was aborted'),
    why: 'An aborted signal would be ignored for what is cached.',
  },
  {
    id: 'core-deadlines-too-early',
    file: 'src/core/deadlines.ts',
    find: 'const earlyMs = Math.min(delayMs * EARLY_PART, EARLY_MS_MAX);',
    replace: 'const earlyMs = EARLY_MS_MAX + 0 * delayMs * EARLY_PART;',
    tests: { project: 'unit', file: 'test/unit/core/deadlines.test.ts', name: 'a short deadline' },
    why: 'A short call would be given up before it began.',
  },
  {
    id: 'cache-update-hold-ends-with-the-first',
    file: 'src/cache/holds.ts',
    find: '          const isLast = hold.count === 0;',
    replace: '          const isLast = hold.count >= 0;',
    tests: {
      project: 'unit',
      file: 'test/unit/cache/failures.test.ts',
      name: 'hold their key together',
    },
    why: 'While one of two updates still commits, what was loaded before it can be stored.',
  },
];
