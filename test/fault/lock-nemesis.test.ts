// A slice of `npm run soak -- lock`: several processes under seeded faults, and no violation.

import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { checkHistory, type HistoryEvent, readHistory } from 'tricord/testing';
import { describe, expect, test } from 'vitest';
import { measured } from '../servers/shared.js';
import { violationText } from '../soak/lock.js';
import type { NemesisDriver } from '../soak/lock-drivers.js';
import { NEMESIS_RULES, runNemesis } from '../soak/lock-nemesis.js';

const SEED = Number(process.env.TRICORD_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** One storm and one calm; `npm run soak` has no end. */
const DURATION_MS = Number(process.env.TRICORD_NEMESIS_MS ?? 18_000);
const PATIENCE = { timeout: DURATION_MS + 150_000 };

/** The same history with one line more: a lease that meets all others of its resource. */
function planted(events: readonly HistoryEvent[]): HistoryEvent[] {
  const granted = events.find((event) => event.event === 'acquired' && event.outcome === 'granted');
  if (granted?.event !== 'acquired') return [...events];
  const { process, operation } = granted;
  const asked = events.find(
    (event) =>
      event.event === 'acquire' && event.process === process && event.operation === operation,
  );
  const last = Math.max(...events.map(({ at }) => at));
  if (asked?.event !== 'acquire') return [...events];
  const intruder = { process: 'intruder', operation: 'x' };
  return [
    ...events,
    { ...asked, ...intruder, mode: 'exclusive' },
    { ...granted, ...intruder, token: '0', isHeld: true },
    { event: 'check', ...intruder, at: last, isHeld: true },
  ];
}

async function slice(driver: NemesisDriver): Promise<void> {
  console.log(`seed ${SEED}`);
  const result = await runNemesis({ driver, seed: SEED, durationMs: DURATION_MS });
  const { backend, requestCount, grantCount, violations, failures, file } = result;
  const faultCount = Object.values(result.faults).reduce((sum, count) => sum + count, 0);
  measured(
    `nemesis on ${backend}, seed ${SEED}: ${requestCount} requests, ${grantCount} grants, ` +
      `${faultCount} faults, ${violations.length} violations`,
  );
  // The history of a failure stays for `npm run soak -- check`.
  expect(failures, `seed ${SEED}, ${file}`).toEqual([]);
  expect(violations.map(violationText), `seed ${SEED}, ${file}`).toEqual([]);
  expect(grantCount).toBeGreaterThan(20);
  expect(faultCount).toBeGreaterThan(0);
  const rejected = checkHistory(planted(await readHistory(file)), NEMESIS_RULES);
  expect(rejected.map(({ rule }) => rule)).toContain('mutual-exclusion');
  await rm(dirname(file), { recursive: true });
}

describe('the nemesis of locks [redis]', () => {
  test('processes that are killed, stopped and cut off violate nothing on Redis', PATIENCE, () =>
    slice('redis'),
  );
  test('nor on a quorum of three, of which one at a time fails', PATIENCE, () => slice('quorum'));
});

describe('the nemesis of locks [zookeeper]', () => {
  test('nor on an ensemble that loses sessions, servers and its leader', PATIENCE, () =>
    slice('zookeeper'),
  );
});
