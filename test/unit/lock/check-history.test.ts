// The checker rejects a planted history for each of its rules, and accepts what looks alike but is right.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CheckHistoryOptions,
  checkHistory,
  type HistoryEvent,
  readHistory,
  recordHistory,
} from 'tricord/testing';
import { describe, expect, test } from 'vitest';

interface Story {
  readonly process?: string;
  readonly mode?: 'exclusive' | 'shared' | 'counting';
  readonly permits?: number;
  readonly capacity?: number;
  readonly token?: number;
  readonly ttlMs?: number;
  readonly maxHoldMs?: number;
  readonly renew?: boolean;
  /** Asked, granted, the last "held", the answer to the release. */
  readonly asked: number;
  readonly granted?: number;
  readonly held?: number;
  readonly lost?: number;
  readonly released?: number;
  readonly outcome?: 'released' | 'lost';
}

let operations = 0;

/** The events of one request and its lease. */
function lease(story: Story): HistoryEvent[] {
  const { process = 'p', mode = 'exclusive', permits, capacity, token, ttlMs, maxHoldMs } = story;
  operations += 1;
  const own = { process, operation: String(operations) };
  const terms = { mode, permits, capacity, ttlMs, maxHoldMs, renew: story.renew ?? true };
  const place = { node: `node-${process}`, resource: 'r', waits: true, isOneOfSeveral: false };
  const events: HistoryEvent[] = [
    { event: 'acquire', at: story.asked, ...own, ...place, ...terms },
  ];
  if (story.granted === undefined) return events;
  const grant = { outcome: 'granted', token: token?.toString(), isHeld: true } as const;
  events.push({ event: 'acquired', at: story.granted, ...own, ...grant });
  if (story.held !== undefined) {
    events.push({ event: 'check', at: story.held, ...own, isHeld: true });
  }
  if (story.lost !== undefined) {
    events.push({ event: 'lost', at: story.lost, ...own, reason: 'LOCK_LOST' });
  }
  if (story.released === undefined) return events;
  const isHeld = story.lost === undefined;
  events.push({ event: 'release', at: story.held ?? story.granted, ...own, isHeld });
  const outcome = story.outcome ?? 'released';
  events.push({ event: 'released', at: story.released, ...own, outcome });
  return events;
}

const whole = (asked: number, token: number, more: Partial<Story> = {}): HistoryEvent[] =>
  lease({ asked, granted: asked + 1, held: asked + 5, released: asked + 6, token, ...more });
const fault = (at: number, untilMs: number, more: object = {}): HistoryEvent => ({
  ...{
    event: 'fault',
    at,
    untilMs,
    process: 'nemesis',
    fault: 'freeze',
    target: 'backend',
    ...more,
  },
});
const quiet = (at: number, more: object = {}): HistoryEvent => ({
  ...{ event: 'quiesce', at, process: 'nemesis', resource: 'r', holders: [], waiters: [], ...more },
});
const broken = (events: readonly HistoryEvent[], options?: CheckHistoryOptions): string[] => [
  ...new Set(checkHistory(events, options).map(({ rule }) => rule)),
];

test('a history of leases one after another is without violation, in whatever order it was written', () => {
  const history = [...whole(0, 1), ...whole(10, 2, { process: 'q' }), quiet(30)];
  expect(checkHistory(history)).toEqual([]);
  expect(checkHistory(history.toReversed())).toEqual([]);
});

describe('mutual exclusion', () => {
  const first = whole(0, 1, { held: 50, released: 51 });

  test('a lease that is held while another is held is found, with the events of both', () => {
    const [found] = checkHistory([...first, ...whole(10, 2, { process: 'q' })]);
    expect(found?.rule).toBe('mutual-exclusion');
    expect(found?.message).toContain('token 2');
    expect(found?.events).toHaveLength(5);
  });
  test('a lease that was lost may meet the next', () => {
    const lost = lease({ asked: 0, granted: 1, held: 5, lost: 40, token: 1 });
    expect(broken([...lost, ...whole(10, 2, { process: 'q' })])).toEqual([]);
  });
  test('where only the fence is promised the newer needs the higher token', () => {
    const guarantee = 'fence';
    expect(broken([...first, ...whole(10, 2, { process: 'q' })], { guarantee })).toEqual([]);
    expect(broken([...first, ...whole(10, 1, { process: 'q' })], { guarantee })).toContain(
      'mutual-exclusion',
    );
  });
  test('a lease that was taken away may meet the next, with the higher token, until it can know', () => {
    const revoked = (revokedUntilMs: number) =>
      fault(5, 60, { fault: 'kill session', revokedUntilMs });
    const next = whole(10, 2, { process: 'q' });
    expect(broken([...first, ...next, revoked(50)])).not.toContain('mutual-exclusion');
    expect(broken([...first, ...next, revoked(40)])).toContain('mutual-exclusion');
    const lower = whole(10, 0, { process: 'q' });
    expect(broken([...first, ...lower, revoked(50)])).toContain('mutual-exclusion');
  });
  test('readers meet readers and no writer', () => {
    const reader = (asked: number, more: Partial<Story> = {}) =>
      whole(asked, 1, { mode: 'shared', held: asked + 50, released: asked + 51, ...more });
    expect(broken([...reader(0), ...reader(5, { process: 'q' })])).toEqual([]);
    expect(broken([...reader(0), ...whole(10, 2, { process: 'q' })])).toEqual(['mutual-exclusion']);
    expect(broken([...first, ...reader(5, { process: 'q' })])).toEqual(['mutual-exclusion']);
  });
  test('permits may be taken up to the capacity and no further', () => {
    const taken = (permits: number, capacity = 3): HistoryEvent[] =>
      lease({ mode: 'counting', permits, capacity, asked: 0, granted: 1, held: 50, released: 51 });
    expect(broken([...taken(2), ...taken(1)])).toEqual([]);
    expect(broken([...taken(2), ...taken(1), ...taken(1)])).toEqual(['mutual-exclusion']);
    expect(broken([...taken(1), ...taken(1, 4)])).toEqual(['mutual-exclusion']);
  });
  test('clocks that may differ excuse an overlap of that much', () => {
    const history = [...whole(0, 1), ...whole(4.5, 2, { process: 'q', granted: 4.6 })];
    expect(broken(history)).toContain('mutual-exclusion');
    expect(broken(history, { skewMs: 0.5 })).toEqual([]);
  });
});

describe('fencing tokens', () => {
  test('a token that does not increase is found', () => {
    expect(broken([...whole(0, 2), ...whole(10, 1)])).toEqual(['fence-monotone']);
    expect(broken([...whole(0, 2), ...whole(10, 2)])).toEqual(['fence-monotone']);
  });
  test('also the token of a lease that was lost before anybody looked', () => {
    const [asked, granted] = lease({ asked: 0, granted: 1, token: 7 }) as [
      HistoryEvent,
      HistoryEvent,
    ];
    const lost = { ...granted, isHeld: false } as HistoryEvent;
    expect(broken([asked, lost, ...whole(10, 5)])).toEqual(['fence-monotone']);
    expect(broken([asked, lost, ...whole(10, 8)])).toEqual([]);
  });
  test('tokens are compared as numbers, also above 2^53', () => {
    const big = Number.MAX_SAFE_INTEGER;
    expect(broken([...whole(0, 9), ...whole(10, 10)])).toEqual([]);
    expect(broken([...whole(0, big), ...whole(10, big)])).toEqual(['fence-monotone']);
  });
  test('a reader has the token of the writer before it, and the next writer a higher one', () => {
    const reader = whole(10, 1, { mode: 'shared' });
    expect(broken([...whole(0, 1), ...reader, ...whole(20, 2)])).toEqual([]);
    expect(broken([...whole(0, 2), ...reader])).toEqual(['fence-monotone']);
    expect(broken([...reader, ...whole(20, 1)])).toEqual(['fence-monotone']);
  });
});

test('a release that tells released although another had got the lease is found', () => {
  const told = (outcome: 'released' | 'lost') =>
    lease({ asked: 0, granted: 1, lost: 60, held: 50, released: 70, token: 1, outcome });
  const stamped = (events: HistoryEvent[]) =>
    events.map((event) => (event.event === 'check' ? { ...event, at: 5 } : event));
  const next = whole(10, 2, { process: 'q' });
  expect(broken([...stamped(told('released')), ...next])).toEqual(['false-release']);
  expect(broken([...stamped(told('lost')), ...next])).toEqual([]);
});

describe('the deadline of a lease', () => {
  test('a lease that is held after it was lost is found', () => {
    const story = { asked: 0, granted: 1, held: 50, token: 1 };
    expect(broken(lease({ ...story, lost: 40 }))).toEqual(['held-past-deadline']);
    expect(broken(lease({ ...story, lost: 51 }))).toEqual([]);
  });
  test('a lease that is not renewed ends after its TTL, and any after maxHoldMs', () => {
    const story = { asked: 0, granted: 1, held: 50, token: 1 };
    expect(broken(lease({ ...story, renew: false, ttlMs: 40 }))).toEqual(['held-past-deadline']);
    expect(broken(lease({ ...story, renew: false, ttlMs: 60 }))).toEqual([]);
    expect(broken(lease({ ...story, maxHoldMs: 40 }))).toEqual(['held-past-deadline']);
    expect(broken(lease({ ...story, ttlMs: 40 }))).toEqual([]);
  });
  test('while the backend answers nobody a lease lasts no longer than its TTL', () => {
    const held = lease({ asked: 0, granted: 1, held: 150, ttlMs: 100, token: 1 });
    const silence = fault(20, 400, { silentUntilMs: 200 });
    expect(broken([...held, silence])).toEqual(['held-past-deadline']);
    expect(broken([...held, fault(60, 400, { silentUntilMs: 200 })])).toEqual([]);
  });
});

describe('the line', () => {
  const patient = lease({ asked: 0, granted: 5_000, held: 5_001, released: 5_002, token: 99 });
  const later = (count: number, process: string): HistoryEvent[] =>
    Array.from({ length: count }, (_, index) =>
      whole(1_000 + index * 100, index + 1, { process }),
    ).flat();

  test('more than a turn of one node before somebody who asked first is found', () => {
    expect(broken([...patient, ...later(17, 'q')])).toEqual([]);
    expect(broken([...patient, ...later(18, 'q')])).toEqual(['first-come-first-served']);
    const localHandoffs = 2;
    expect(broken([...patient, ...later(4, 'q')], { localHandoffs })).toContain(
      'first-come-first-served',
    );
  });
  test('inside a node nobody at all comes before who asked first', () => {
    const patience = { wakeUpMsMax: 10_000 };
    expect(broken([...patient, ...later(1, 'p')], patience)).toEqual(['first-come-first-served']);
  });
  test('a wait that a fault touched is not judged', () => {
    const history = [...patient, ...later(18, 'q')];
    expect(broken([...history, fault(4_990, 6_000)])).toEqual([]);
    expect(broken([...history, fault(6_000, 7_000)])).toEqual(['first-come-first-served']);
  });
  test('who waits for what nobody holds was not woken', () => {
    expect(broken(patient)).toEqual(['no-lost-wake-up']);
    const holder = lease({ asked: 0, granted: 1, held: 2_500, released: 2_501, token: 1 });
    expect(broken([...holder, ...patient])).toEqual([]);
    const dead = lease({ process: 'q', asked: 0, granted: 1, held: 10, ttlMs: 1_500, token: 1 });
    expect(broken([...dead, ...patient])).toEqual([]);
    expect(broken([...patient, fault(100, 200)])).toEqual([]);
    // One of several resources may be held while its set still waits for another.
    const several = lease({ process: 'q', asked: 0, granted: 4_900, released: 4_901, token: 1 });
    const set = several.map((event) => ({ ...event, isOneOfSeveral: true }) as HistoryEvent);
    expect(broken([...set, ...patient])).toEqual([]);
  });
});

describe('after the end', () => {
  test('a holder or a waiter that the backend still shows is found', () => {
    expect(broken([...whole(0, 1), quiet(20, { holders: ['r@node-p'] })])).toEqual(['no-orphan']);
    expect(broken([...whole(0, 1), quiet(20, { waiters: ['r@node-p'] })])).toEqual(['no-orphan']);
    const kept = lease({ asked: 0, granted: 1, held: 30, token: 1 });
    expect(broken([...kept, quiet(20, { holders: ['r@node-p'] })])).toEqual([]);
  });
  test('a call that never ended is found, unless its process was killed', () => {
    const pending = lease({ asked: 0 });
    expect(broken([...pending, quiet(20)])).toEqual(['no-orphan']);
    const killed = fault(10, 15, { fault: 'kill', target: 'p' });
    expect(broken([...pending, killed, quiet(20)])).toEqual([]);
  });
});

describe('the history itself', () => {
  test('an end without a beginning, a second answer and a full recorder are found', () => {
    const [asked, granted] = lease({ asked: 0, granted: 1, token: 1 }) as [
      HistoryEvent,
      HistoryEvent,
    ];
    expect(broken([granted])).toEqual(['well-formed']);
    expect(broken([asked, granted, granted])).toEqual(['well-formed']);
    expect(broken([asked, asked])).toEqual(['well-formed']);
    expect(broken([{ event: 'overflow', at: 1, process: 'p' }])).toEqual(['well-formed']);
  });
  test('a bound that makes no sense is a TypeError', () => {
    expect(() => checkHistory([], { settleMs: -1 })).toThrow(TypeError);
  });

  test('a file can be judged again, also when its last line was cut off', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tricord-history-'));
    try {
      const file = join(folder, 'history.jsonl');
      const bad = [...whole(0, 2), ...whole(10, 1)];
      await writeFile(file, `${bad.map((event) => JSON.stringify(event)).join('\n')}\n{"at":3`);
      expect(await readHistory(file)).toEqual(JSON.parse(JSON.stringify(bad)));
      expect(broken(await readHistory(file))).toEqual(['fence-monotone']);
      await writeFile(file, `{}\n${await readFile(file, 'utf8')}`);
      await expect(readHistory(file)).rejects.toThrow(/line 1 of/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
  test('a recorder is bounded and says so', () => {
    using recorder = recordHistory({ eventsMax: 1 });
    for (let times = 0; times < 3; times += 1) {
      recorder.quiesce({ resource: 'r', holders: [], waiters: [] });
    }
    expect(recorder.events.map(({ event }) => event)).toEqual(['quiesce', 'overflow']);
  });
});
