// A slice of `npm run soak -- cache`: several processes under seeded faults, and no stale read.

import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type CacheHistoryEvent, checkCacheHistory, readCacheHistory } from 'tricord/testing';
import { describe, expect, test } from 'vitest';
import { measured } from '../servers/shared.js';
import { cacheViolationText } from '../soak/cache.js';
import type { CacheNemesisDriver } from '../soak/cache-drivers.js';
import { runCacheNemesis } from '../soak/cache-nemesis.js';

const SEED = Number(process.env.TRICORD_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** A few faults of each kind; `npm run soak` has no end. */
const DURATION_MS = Number(process.env.TRICORD_NEMESIS_MS ?? 10_000);
const PATIENCE = { timeout: DURATION_MS + 120_000 };

/** The same history with one read more, which is answered what there was before all writes. */
function planted(events: readonly CacheHistoryEvent[]): CacheHistoryEvent[] {
  const write = events.find((event) => event.event === 'write');
  const last = Math.max(...events.map(({ at }) => at));
  if (write?.event !== 'write') return [...events];
  const who = { process: 'reader', operation: 'x' };
  return [
    ...events,
    { event: 'read', at: last, ...who, key: write.key, stalenessMs: 0 },
    { event: 'answer', at: last, ...who, outcome: 'value', version: 0 },
  ];
}

async function slice(driver: CacheNemesisDriver, processCount = 3): Promise<void> {
  console.log(`seed ${SEED}`);
  const result = await runCacheNemesis({
    ...{ driver, seed: SEED, durationMs: DURATION_MS },
    processCount,
  });
  const { backend, readCount, answerCount, violations, failures, file } = result;
  const faultCount = Object.values(result.faults).reduce((sum, count) => sum + count, 0);
  measured(
    `cache nemesis on ${backend}, seed ${SEED}: ${readCount} reads, ${answerCount} with a value, ` +
      `${faultCount} faults, ${violations.length} violations`,
  );
  // The history of a failure stays for `npm run soak -- check`.
  expect(failures, `seed ${SEED}, ${file}`).toEqual([]);
  expect(violations.map(cacheViolationText), `seed ${SEED}, ${file}`).toEqual([]);
  expect(answerCount).toBeGreaterThan(100);
  expect(faultCount).toBeGreaterThan(0);
  const rejected = checkCacheHistory(planted(await readCacheHistory(file)));
  expect(rejected.map(({ rule }) => rule)).toEqual(['stale']);
  await rm(dirname(file), { recursive: true });
}

describe('the nemesis of caches [redis]', () => {
  test('processes and connections that end at any moment leave no stale read', PATIENCE, () =>
    slice('redis'),
  );
});

describe('the nemesis of strict caches [redis]', () => {
  test('two processes never read backwards, whoever asks', PATIENCE, () =>
    slice('redis-strict', 2),
  );
});

describe('the nemesis of caches [memcached]', () => {
  test('nor with a server that forgets', PATIENCE, () => slice('memcached'));
});

describe('the nemesis of caches [zookeeper]', () => {
  test('nor on an ensemble that loses sessions, servers and its leader', PATIENCE, () =>
    slice('zookeeper'),
  );
});
