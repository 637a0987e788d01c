import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  type CacheHistoryEvent,
  checkCacheHistory,
  readCacheHistory,
  recordCacheHistory,
  virtualClock,
} from '../../../src/testing.js';

/** A history by hand: moments, processes and what happened. */
function history() {
  const events: CacheHistoryEvent[] = [];
  let operations = 0;
  const next = (): string => {
    operations += 1;
    return String(operations);
  };
  return {
    events,
    write(process: string, version: number, fromMs: number, untilMs?: number): void {
      const operation = next();
      events.push({ event: 'write', at: fromMs, process, operation, key: 'key', version });
      if (untilMs === undefined) return;
      const outcome = 'acknowledged';
      events.push({ event: 'written', at: untilMs, process, operation, outcome });
    },
    read(process: string, version: number, fromMs: number, untilMs: number, stalenessMs = 0): void {
      const operation = next();
      events.push({ event: 'read', at: fromMs, process, operation, key: 'key', stalenessMs });
      const answer = { event: 'answer', process, operation, outcome: 'value', version } as const;
      events.push({ ...answer, at: untilMs });
    },
    rules: () => checkCacheHistory(events).map(({ rule }) => rule),
  };
}

test('what was current at some moment of the read is right, and so is what was never acknowledged', () => {
  const { write, read, rules } = history();
  read('reader', 0, 5, 15);
  write('writer', 1, 10, 20);
  // Both versions, as the read began before the acknowledgement.
  read('reader', 0, 19, 30);
  read('reader', 1, 11, 12);
  read('reader', 1, 21, 22);
  // The writer of the second version died; nobody knows.
  write('writer', 2, 40);
  read('reader', 1, 50, 51);
  read('reader', 2, 52, 53);
  read('reader', 1, 54, 55);
  expect(rules()).toEqual([]);
});

test('a write that failed promises nothing, and may have happened all the same', () => {
  const { write, read, rules, events } = history();
  write('writer', 1, 10, 20);
  write('writer', 2, 30, 40);
  const ended = events.at(-1);
  if (ended?.event === 'written') events[events.length - 1] = { ...ended, outcome: 'failed' };
  read('writer', 1, 50, 51);
  read('reader', 2, 52, 53);
  expect(rules()).toEqual([]);
});

test('an older version after an acknowledgement is stale', () => {
  const { write, read, rules, events } = history();
  write('writer', 1, 10, 20);
  write('writer', 2, 30, 40);
  read('reader', 1, 41, 60);
  read('reader', 0, 25, 26);
  expect(rules()).toEqual(['stale', 'stale']);
  expect(checkCacheHistory(events)[1]?.message).toContain(
    'reader/3 was answered version 1 of "key", 1.0 ms after version 2 was acknowledged',
  );
  expect(checkCacheHistory(events, { violationsMax: 1 })).toHaveLength(1);
});

test('a promised staleness counts from the acknowledgement, and not for the own writes', () => {
  const { write, read, rules } = history();
  write('writer', 1, 10, 20);
  read('reader', 0, 120, 121, 100);
  expect(rules()).toEqual([]);
  read('reader', 0, 121, 122, 100);
  expect(rules()).toEqual(['stale']);
  read('writer', 0, 21, 22, 100);
  expect(rules()).toEqual(['own-write', 'stale']);
});

test('an acknowledgement of an older version that comes late takes nothing back', () => {
  const { write, read, rules } = history();
  write('one', 2, 10, 20);
  write('other', 1, 5, 30);
  read('reader', 2, 31, 32);
  expect(rules()).toEqual([]);
  read('reader', 1, 33, 34);
  expect(rules()).toEqual(['stale']);
});

test('a version that nobody has written comes from nowhere', () => {
  const { write, read, rules } = history();
  read('reader', 1, 1, 2);
  write('writer', 1, 10, 20);
  read('reader', 7, 21, 22);
  expect(rules()).toEqual(['from-nowhere', 'from-nowhere']);
});

test('who stood still has not heard what happened meanwhile', () => {
  const { write, read, rules, events } = history();
  write('writer', 1, 1_000, 1_010);
  events.push({
    event: 'fault',
    at: 900,
    process: 'x',
    fault: 'stop',
    target: 'reader',
    untilMs: 3_000,
  });
  read('reader', 0, 3_001, 3_002, 100);
  expect(rules()).toEqual([]);
  read('reader', 0, 3_101, 3_102, 100);
  read('another', 0, 3_001, 3_002, 100);
  expect(rules()).toEqual(['stale', 'stale']);
});

test('a history with a hole, or with an end that never began, is told', () => {
  const { events, rules } = history();
  events.push({ event: 'overflow', at: 1, process: 'p' });
  events.push({ event: 'answer', at: 2, process: 'p', operation: 'x', outcome: 'missing' });
  expect(rules()).toEqual(['well-formed', 'well-formed']);
});

test('what is recorded is what the checker reads, from memory and from a file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tricord-history-'));
  const clock = virtualClock();
  const file = join(folder, 'history.jsonl');
  for (const options of [{ clock }, { clock, file }]) {
    using recorder = recordCacheHistory({ ...options, process: 'p' });
    await recorder.write('key', 1, async () => clock.advance(5));
    await clock.advance(1);
    const value = await recorder.read(
      'key',
      0,
      async () => ({ version: 0 }),
      (v) => v.version,
    );
    expect(value).toEqual({ version: 0 });
    await recorder.read(
      'key',
      0,
      async () => undefined,
      () => 0,
    );
    const broken = Object.assign(new Error('no'), { code: 'NO' });
    const failing = recorder.read(
      'key',
      0,
      () => Promise.reject(broken),
      () => 0,
    );
    await expect(failing).rejects.toBe(broken);
    await expect(recorder.write('key', 2, () => Promise.reject(broken))).rejects.toBe(broken);
    recorder.fault({ fault: 'cut', target: 'backend', untilMs: recorder.now() });
    const events = 'file' in options ? await readCacheHistory(file) : recorder.events;
    expect(events.map(({ event }) => event)).toEqual([
      ...['write', 'written', 'read', 'answer', 'read', 'answer', 'read', 'answer'],
      ...['write', 'written', 'fault'],
    ]);
    expect(checkCacheHistory(events).map(({ rule }) => rule)).toEqual(['stale']);
  }
  await rm(folder, { recursive: true });
});

test('a linearizable cache does not go back behind what another read was answered before', () => {
  const { events, write, read } = history();
  write('a', 1, 0);
  read('b', 1, 1, 2);
  read('c', 0, 1.5, 3);
  read('c', 0, 3, 4);
  const rules = (isLinearizable: boolean) =>
    checkCacheHistory(events, { isLinearizable }).map(({ rule }) => rule);
  expect(rules(false)).toEqual([]);
  expect(rules(true)).toEqual(['order']);
});
