/**
 * Goal: no order of events leads the queue of one node astray, in any mode. Method: a small world
 * around the machine (tasks, a backend that grants what fits, losses, failures) plays every order of
 * events for a few tasks, and long random ones for many; each step is checked against the invariants.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FewMap, FewSet } from '../../../src/core/few-map.js';
import type { NodeGrant, QueuedTask } from '../../../src/lock/node-grants.js';
import {
  emptyQueue,
  finishKept,
  isIdle,
  keptGrant,
  type NodeQueue,
  takeKept,
  transition,
} from '../../../src/lock/node-queue.js';
import type { QueueEffect, QueueEvent } from '../../../src/lock/queue-events.js';

type Fate = 'waiting' | 'running' | 'done' | 'refused' | 'failed' | 'left';

interface World {
  readonly queue: NodeQueue;
  /** Tasks that did not come yet, and of those that came, in their order, what became of them. */
  readonly coming: QueuedTask[];
  readonly arrived: number[];
  readonly fate: Map<number, Fate>;
  readonly tasks: Map<number, QueuedTask>;
  /** Which grant each running task has. */
  readonly runsOn: Map<number, number>;
  /** Requests under way, for which task each was made, and whether they were given up. */
  readonly requests: Map<number, { readonly task: QueuedTask; isGivenUp: boolean }>;
  /** What the backend thinks is granted, and how. */
  readonly granted: Map<number, Pick<QueuedTask, 'mode' | 'permits'>>;
  readonly reservations: Set<number>;
  nextToken: bigint;
  lastToken: bigint;
  losses: number;
  failures: number;
  downgrades: number;
  othersCount: number;
}

const LIMITS = { localHandoffs: 2 };
const PATIENCE_MS = 100;
const FAULTS = { losses: 1, failures: 1, downgrades: 0 };

function world(tasks: readonly QueuedTask[], faults: Partial<World> = FAULTS): World {
  return {
    ...{ queue: emptyQueue(), coming: [...tasks], arrived: [], fate: new Map() },
    tasks: new Map(tasks.map((task) => [task.id, task])),
    ...{ runsOn: new Map(), requests: new Map(), granted: new Map(), reservations: new Set() },
    ...{ nextToken: 1n, lastToken: 0n, losses: 0, failures: 0, downgrades: 0, othersCount: 0 },
    ...faults,
  };
}

/** Whether the backend would grant the request beside what it has granted. */
function fits({ granted }: World, { mode, permits, capacity }: QueuedTask): boolean {
  if (granted.size === 0) return true;
  if (mode === 'exclusive') return false;
  const others = Array.from(granted.values());
  if (mode === 'shared') return others.every((other) => other.mode === 'shared');
  return others.reduce((sum, other) => sum + other.permits, permits) <= capacity;
}

/** Everything that may happen next. */
function possible(at: World): QueueEvent[] {
  const events: QueueEvent[] = [];
  const [task] = at.coming;
  if (task !== undefined) events.push({ type: 'joined', task });
  for (const [id, fate] of at.fate) {
    if (fate === 'waiting') events.push({ type: 'left', task: id });
    const grant = at.runsOn.get(id);
    if (fate === 'running' && grant !== undefined) {
      events.push({ type: 'finished', grant, task: id });
    }
  }
  for (const [request, { task, isGivenUp }] of at.requests) {
    if (fits(at, task)) events.push(grantOf(at, request, task));
    else if (!task.wait) events.push({ type: 'busy', request });
    if (isGivenUp || at.failures > 0) {
      events.push({ type: 'failed', request, error: 'down', scope: 'all' });
    }
    if (at.losses > 0) events.push({ type: 'missed', request });
  }
  for (const grant of at.reservations) {
    events.push({ type: 'reserved', grant, tokens: { first: at.nextToken, count: 3 } });
    if (at.failures > 0) events.push({ type: 'reserved', grant, tokens: undefined });
  }
  for (const grant of at.queue.grants.values()) events.push(...happensTo(at, grant));
  return events;
}

function happensTo(at: World, grant: NodeGrant): QueueEvent[] {
  const { id, mode, isRetained, lingersSince, holders } = grant;
  const events: QueueEvent[] = [];
  events.push({ type: 'others', grant: id, count: at.othersCount === 0 ? 1 : 0 });
  if (at.losses > 0) events.push({ type: 'lost', grant: id });
  if (isRetained) events.push({ type: 'retained', grant: id });
  if (lingersSince !== undefined) events.push({ type: 'lingered', grant: id });
  if (at.downgrades > 0 && mode === 'exclusive' && holders.size === 1) {
    const epoch = at.nextToken;
    events.push({ type: 'downgraded', grant: id, epoch, sharesTtlMs: 1_000 });
  }
  return events;
}

function grantOf(at: World, request: number, { mode }: QueuedTask): QueueEvent {
  const count = mode === 'exclusive' ? 2 : 1;
  const tokens = mode === 'counting' ? undefined : { first: at.nextToken, count };
  const { othersCount } = at;
  return { type: 'granted', request, tokens, othersCount, patienceMs: PATIENCE_MS };
}

/** Lets one event happen, does what the machine says, and checks the world afterwards. */
function step(at: World, event: QueueEvent, nowMs = 0): QueueEffect[] {
  occur(at, event);
  const shortcut = shortcutOf(at, event);
  const effects = transition(at.queue, event, nowMs, LIMITS);
  if (shortcut !== undefined) isSame(at, effects, shortcut);
  for (const effect of effects) carryOut(at, effect);
  check(at);
  return effects;
}

/** What the short ways through the machine make of an event, where they take it. */
function shortcutOf(at: World, event: QueueEvent): { at: World; effects: unknown[] } | undefined {
  if (event.type === 'joined' && keptGrant(at.queue) !== undefined) {
    const other = copyOf(at);
    const grant = keptGrant(other.queue)?.id;
    const token = takeKept(other.queue, event.task);
    if (token === undefined) return isUntouched(at, other);
    const start = { type: 'start', task: event.task.id, grant, token, isHandedOver: true };
    return { at: other, effects: [start] };
  }
  if (event.type !== 'finished' || at.queue.waiting.size > 0) return undefined;
  const other = copyOf(at);
  const kept = finishKept(other.queue, event.grant, event.task);
  if (kept === undefined) return isUntouched(at, other);
  const { id: grant, retainMs } = kept;
  if (retainMs > 0) return { at: other, effects: [{ type: 'retain', grant, retainMs }] };
  return { at: other, effects: [{ type: 'linger', grant, begins: false }] };
}

function isUntouched(at: World, other: World): undefined {
  must(keyOf(at) === keyOf(other), 'what is not taken is not changed');
}

function isSame(at: World, effects: QueueEffect[], shortcut: { at: World; effects: unknown[] }) {
  expect(effects).toEqual(shortcut.effects);
  must(keyOf(at) === keyOf(shortcut.at), 'a short way leads to the same place');
}

function occur(at: World, event: QueueEvent): void {
  switch (event.type) {
    case 'joined':
    case 'rejoined':
      at.coming.shift();
      at.arrived.push(event.task.id);
      at.fate.set(event.task.id, 'waiting');
      return;
    case 'left':
      at.fate.set(event.task, 'left');
      return;
    case 'finished':
      at.fate.set(event.task, 'done');
      at.runsOn.delete(event.task);
      return;
    case 'granted': {
      const { mode, permits } = at.requests.get(event.request)?.task ?? task(0);
      at.requests.delete(event.request);
      at.granted.set(event.request, { mode, permits });
      at.nextToken += BigInt(event.tokens?.count ?? 0);
      return;
    }
    case 'busy':
    case 'failed':
    case 'missed':
      at.requests.delete(event.request);
      if (event.type === 'failed') at.failures -= 1;
      if (event.type === 'missed') at.losses -= 1;
      return;
    case 'reserved':
      at.reservations.delete(event.grant);
      at.nextToken += BigInt(event.tokens?.count ?? 0);
      if (event.tokens === undefined) at.failures -= 1;
      return;
    case 'downgraded':
      at.downgrades -= 1;
      at.granted.set(event.grant, { mode: 'shared', permits: 1 });
      at.nextToken += 1n;
      return;
    case 'lost': {
      at.losses -= 1;
      end(at, event.grant);
      for (const [task, grant] of at.runsOn) if (grant === event.grant) fail(at, task);
      return;
    }
    case 'others':
      at.othersCount = event.count;
      return;
    case 'lingered':
    case 'retained':
  }
}

function fail(at: World, task: number): void {
  at.fate.set(task, 'failed');
  at.runsOn.delete(task);
}

function end(at: World, grant: number): void {
  must(at.granted.delete(grant), 'only what is granted ends, once');
}

function carryOut(at: World, effect: QueueEffect): void {
  switch (effect.type) {
    case 'ask':
      at.requests.set(effect.request, { task: effect.task, isGivenUp: false });
      return;
    case 'give-up': {
      const request = at.requests.get(effect.request);
      if (request !== undefined) request.isGivenUp = true;
      return;
    }
    case 'return':
    case 'release': {
      const grant = effect.type === 'return' ? effect.request : effect.grant;
      const users = Array.from(at.runsOn.values());
      must(!users.includes(grant), 'what is in use is not given back');
      end(at, grant);
      return;
    }
    case 'start':
      start(at, effect);
      return;
    case 'refuse':
    case 'fail':
      must(at.fate.get(effect.task) === 'waiting', 'who waits is answered');
      at.fate.set(effect.task, effect.type === 'refuse' ? 'refused' : 'failed');
      return;
    case 'retain':
    case 'linger':
      must(firstWaiting(at) === undefined, 'nothing is retained while somebody waits');
      must(
        at.queue.grants.get(effect.grant)?.othersCount === 0,
        'or elsewhere, as far as is known',
      );
      return;
    case 'reserve':
      at.reservations.add(effect.grant);
  }
}

function start(at: World, effect: Extract<QueueEffect, { type: 'start' }>): void {
  const task = at.tasks.get(effect.task);
  must(at.granted.get(effect.grant)?.mode === task?.mode, 'a grant of its mode');
  must(at.fate.get(effect.task) === 'waiting', 'who waits is answered');
  must(firstWaiting(at) === effect.task, 'first come, first served');
  must(task?.mode !== 'counting' || effect.token === undefined, 'permits have no token');
  const token = effect.token ?? at.lastToken;
  must(task?.mode !== 'exclusive' || token > at.lastToken, 'tokens increase');
  must(token >= at.lastToken, 'no epoch goes back');
  at.lastToken = token;
  at.fate.set(effect.task, 'running');
  at.runsOn.set(effect.task, effect.grant);
}

const firstWaiting = (at: World) => at.arrived.find((id) => at.fate.get(id) === 'waiting');

/** As `expect`, at a thousandth of its price: it is asked some millions of times here. */
function must(isSo: boolean, what: string): void {
  if (!isSo) expect.fail(what);
}

function check(at: World): void {
  const { queue, fate, granted, requests, runsOn } = at;
  const waiting = Array.from(fate).filter(([, state]) => state === 'waiting');
  must(waiting.length === queue.waiting.size, 'who waits');
  for (const [id] of waiting) must(queue.waiting.has(id), 'who waits');
  must(queue.grants.size === granted.size, 'what is held here stands there');
  for (const id of granted.keys()) must(queue.grants.has(id), 'what stands there is held here');
  checkExclusion(at);
  for (const grant of queue.grants.values()) {
    const users = Array.from(runsOn).filter(([, id]) => id === grant.id);
    must(users.length === grant.holders.size, 'who holds it');
    for (const [task] of users) must(grant.holders.has(task), 'who holds it');
    if (grant.holders.size > 0) continue;
    const isWanted = grant.reservation === 'under-way' && waiting.length > 0;
    must(grant.isRetained || isWanted, 'kept for a token or a task to come');
  }
  for (const id of queue.requests.keys()) {
    must(requests.get(id)?.isGivenUp === false, 'the current request is under way');
    must(waiting.length > 0, 'nobody asks for nobody');
  }
  const isServed = queue.requests.size > 0 || queue.grants.size > 0;
  must(waiting.length === 0 || isServed, 'whoever waits has something to wait for');
  const current = Array.from(requests.values()).filter((each) => !each.isGivenUp);
  must(current.length === queue.requests.size, 'the requests that were not given up');
  const isCounted = current.some(({ task }) => task.mode === 'counting');
  must(current.length <= (isCounted ? 8 : 1), 'one request, but for permits');
}

/** Nobody works who must not work at the same time. */
function checkExclusion({ runsOn, granted, tasks }: World): void {
  const modes = Array.from(runsOn.values(), (grant) => granted.get(grant)?.mode);
  must(!modes.includes('exclusive') || modes.length === 1, 'a writer is alone');
  const counted = Array.from(runsOn.keys(), (id) => tasks.get(id));
  const [first] = counted;
  if (first?.mode !== 'counting') return;
  const used = counted.reduce((sum, task) => sum + (task?.permits ?? 0), 0);
  must(used <= first.capacity, 'permits');
  must(new Set(runsOn.values()).size === runsOn.size, 'each has permits of its own');
}

const keyOf = (at: World): string =>
  JSON.stringify({ ...at, tasks: 0 }, (_, value) => {
    // Only how tokens lie to each other matters.
    if (typeof value === 'bigint') return String(value - at.lastToken);
    if (value instanceof FewMap) return Array.from(value.entries());
    return value instanceof Map || value instanceof Set ? Array.from(value) : value;
  });

/** As `structuredClone`, at a tenth of its price; what never changes is shared. */
function copyOf(at: World): World {
  const { waiting, requests, grants, requestCount } = at.queue;
  return {
    ...at,
    queue: {
      waiting: copyOfMap(waiting),
      requests: copyOfMap(requests),
      grants: copyOfMap(grants, copyOfGrant),
      requestCount,
    },
    coming: [...at.coming],
    arrived: [...at.arrived],
    fate: new Map(at.fate),
    runsOn: new Map(at.runsOn),
    requests: new Map(Array.from(at.requests, ([id, each]) => [id, { ...each }])),
    granted: new Map(at.granted),
    reservations: new Set(at.reservations),
  };
}

function copyOfMap<Value>(
  map: FewMap<number, Value>,
  copied = (value: Value): Value => value,
): FewMap<number, Value> {
  const copy = new FewMap<number, Value>();
  for (const [key, value] of map.entries()) copy.set(key, copied(value));
  return copy;
}

function copyOfGrant(grant: NodeGrant): NodeGrant {
  const holders = new FewSet<number>();
  for (const task of grant.holders.keys()) holders.add(task);
  const tokens = grant.tokens.map((block) => ({ ...block }));
  return { ...grant, holders, tokens };
}

/** Plays every order of events; answers how many states there are. */
function explore(tasks: readonly QueuedTask[], faults: Partial<World> = FAULTS): number {
  const seen = new Set<string>();
  const open: World[] = [world(tasks, faults)];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const events = possible(at);
    if (events.length === 0) {
      expect(isIdle(at.queue), `stuck: ${keyOf(at)}`).toBe(true);
    }
    for (const event of events) {
      const next = copyOf(at);
      step(next, event);
      const key = keyOf(next);
      if (seen.has(key)) continue;
      seen.add(key);
      open.push(next);
    }
  }
  return seen.size;
}

function task(id: number, changes: Partial<QueuedTask> = {}): QueuedTask {
  return {
    ...{ id, wait: true, mode: 'exclusive', permits: 1, capacity: 1 },
    ...{ lockDelayMs: 0, retainMs: 0, sharesTtlMs: undefined },
    ...changes,
  };
}

const patient = (id: number): QueuedTask => task(id);
const trying = (id: number): QueuedTask => task(id, { wait: false });
const reader = (id: number, changes: Partial<QueuedTask> = {}): QueuedTask =>
  task(id, { mode: 'shared', capacity: 1e9, sharesTtlMs: 1_000, ...changes });
const counter = (id: number, changes: Partial<QueuedTask> = {}): QueuedTask =>
  task(id, { mode: 'counting', capacity: 2, ...changes });
const retaining = { retainMs: 50 };

describe('every order of events keeps the invariants', () => {
  test('of three tasks, with a loss and a failure', () => {
    expect(explore([patient(1), patient(2), patient(3)])).toBeGreaterThan(1_000);
  });

  test('with tasks that do not wait', () => {
    expect(explore([trying(1), patient(2), trying(3)])).toBeGreaterThan(300);
    expect(explore([patient(1), trying(2), patient(3)])).toBeGreaterThan(300);
  });

  test('with readers and writers', () => {
    const none = { losses: 0, failures: 0 };
    expect(explore([reader(1), patient(2), reader(3)])).toBeGreaterThan(500);
    expect(explore([patient(1), reader(2), reader(3)], none)).toBeGreaterThan(100);
    expect(explore([reader(1), reader(2), patient(3)], none)).toBeGreaterThan(100);
  });

  test('with readers that need a grant of their own, and some that do not wait', () => {
    const own = { sharesTtlMs: undefined };
    expect(explore([reader(1), reader(2, own), patient(3)])).toBeGreaterThan(300);
    expect(explore([reader(1), reader(2, { wait: false }), trying(3)])).toBeGreaterThan(100);
  });

  test('with a writer that becomes a reader', () => {
    const faults = { losses: 1, failures: 0, downgrades: 1 };
    expect(explore([patient(1), reader(2), patient(3)], faults)).toBeGreaterThan(500);
  });

  test('with permits that are counted', () => {
    const none = { losses: 0, failures: 0 };
    const many = { permits: 2 };
    expect(explore([counter(1), counter(2)])).toBeGreaterThan(300);
    expect(explore([counter(1), counter(2), counter(3)], none)).toBeGreaterThan(300);
    const mixed = [counter(1), counter(2, many), counter(3, { wait: false })];
    expect(explore(mixed, none)).toBeGreaterThan(100);
  });

  test('with grants that are retained', () => {
    expect(explore([task(1, retaining), task(2, retaining), patient(3)])).toBeGreaterThan(500);
    expect(explore([task(1, retaining), reader(2, retaining), trying(3)])).toBeGreaterThan(300);
    expect(explore([counter(1, retaining), counter(2, retaining)])).toBeGreaterThan(100);
  });

  test('with lock delays that a grant must have', () => {
    const delayed = { lockDelayMs: 10 };
    expect(explore([task(1, delayed), patient(2), task(3, delayed)])).toBeGreaterThan(300);
  });
});

test('long random runs of many tasks of all modes keep the invariants and end with everybody answered', () => {
  const kinds = [patient, trying, reader, (id: number) => task(id, retaining)];
  fc.assert(
    fc.property(
      fc.array(fc.nat(kinds.length - 1), { minLength: 1, maxLength: 30 }),
      fc.array(fc.nat(1_000), { minLength: 200, maxLength: 400 }),
      (choicesOfKind, choices) => {
        const tasks = choicesOfKind.map((kind, id) => (kinds[kind] ?? patient)(id));
        const at = world(tasks, { losses: 3, failures: 3, downgrades: 1 });
        for (const [nowMs, choice] of choices.entries()) {
          const events = possible(at);
          const event = events[choice % events.length];
          if (event === undefined) break;
          step(at, event, nowMs);
        }
        drain(at);
      },
    ),
    { numRuns: 300 },
  );
});

test('long random runs of tasks that count keep the invariants', () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }),
      fc.array(fc.nat(1_000), { minLength: 200, maxLength: 400 }),
      (waits, choices) => {
        const tasks = waits.map((wait, id) => counter(id, { wait, capacity: 4 }));
        const at = world(tasks, { losses: 3, failures: 3 });
        for (const [nowMs, choice] of choices.entries()) {
          const events = possible(at);
          const event = events[choice % events.length];
          if (event === undefined) break;
          step(at, event, nowMs);
        }
        drain(at);
      },
    ),
    { numRuns: 200 },
  );
});

/** From anywhere: if nothing fails any more, everybody is served and nothing is left. */
function drain(at: World): void {
  at.losses = 0;
  at.failures = 0;
  for (let turn = 0; turn < 1_000; turn += 1) {
    const events = possible(at).filter(({ type }) => type !== 'others' && type !== 'left');
    const [event] = events;
    if (event === undefined) break;
    step(at, event, 0);
  }
  expect(isIdle(at.queue), keyOf(at)).toBe(true);
}

function granted(request: number, changes: object = {}): QueueEvent {
  const tokens = { first: 10n, count: 1 };
  return {
    ...{ type: 'granted', request, tokens, othersCount: 0, patienceMs: PATIENCE_MS },
    ...changes,
  };
}

test('tokens are taken one by one while nobody else is here, and in blocks by need', () => {
  const queue = emptyQueue();
  const join = (id: number) => transition(queue, { type: 'joined', task: patient(id) }, 0, LIMITS);
  expect(join(1)).toEqual([{ type: 'ask', request: 1, task: patient(1), tokens: 1 }]);
  expect(transition(queue, granted(1), 0, LIMITS)).toMatchObject([{ type: 'start', token: 10n }]);
  expect(join(2)).toEqual([{ type: 'reserve', grant: 1, tokens: 16 }]);
  expect(join(3)).toEqual([]);
});

test('a request made for many reserves for many, up to 1,024', () => {
  const asked = (count: number): number | undefined => {
    const queue = emptyQueue();
    transition(queue, { type: 'joined', task: patient(0) }, 0, LIMITS);
    for (let id = 1; id < count; id += 1) {
      transition(queue, { type: 'joined', task: patient(id) }, 0, LIMITS);
    }
    const missed: QueueEvent = { type: 'missed', request: 1 };
    const [effect] = transition(queue, missed, 0, LIMITS);
    return effect?.type === 'ask' ? effect.tokens : undefined;
  };
  expect([asked(1), asked(2), asked(100), asked(5_000)]).toEqual([1, 16, 400, 1_024]);
});

test('readers share one grant until somebody else waits for it; then they stand behind', () => {
  const queue = emptyQueue();
  const happen = (event: QueueEvent) => transition(queue, event, 0, LIMITS);
  const join = (id: number) => happen({ type: 'joined', task: reader(id) });
  join(1);
  join(2);
  // Both waited before, so both come in, although a writer stands in line by now.
  const started = happen(granted(1, { othersCount: 1 }));
  expect(started.map(({ type }) => type)).toEqual(['start', 'start']);
  expect(join(3)).toMatchObject([{ type: 'ask' }]);
  expect(join(5), 'its own place in line is behind the writer').toEqual([]);
  happen({ type: 'left', task: 5 });
  // A writer that gave up its wait is in nobody's way.
  happen({ type: 'left', task: 3 });
  happen({ type: 'others', grant: 1, count: 0 });
  expect(join(4)).toMatchObject([{ type: 'start', grant: 1, token: 10n, isHandedOver: true }]);
  expect(happen({ type: 'finished', grant: 1, task: 1 })).toEqual([]);
  expect(happen({ type: 'finished', grant: 1, task: 2 })).toEqual([]);
  const last = happen({ type: 'finished', grant: 1, task: 4 });
  expect(last).toEqual([{ type: 'release', grant: 1 }]);
});

test('a writer here is asked for while readers hold, and no reader passes it', () => {
  const queue = emptyQueue();
  const happen = (event: QueueEvent) => transition(queue, event, 0, LIMITS);
  happen({ type: 'joined', task: reader(1) });
  happen(granted(1));
  expect(happen({ type: 'joined', task: patient(2) })).toMatchObject([{ type: 'ask', request: 2 }]);
  expect(happen({ type: 'joined', task: reader(3) })).toEqual([]);
  const ended = happen({ type: 'finished', grant: 1, task: 1 });
  expect(ended).toEqual([{ type: 'release', grant: 1 }]);
  expect(happen(granted(2))).toMatchObject([{ type: 'start', task: 2 }, { type: 'ask' }]);
});

test('what this node itself has in line does not make it yield', () => {
  const queue = emptyQueue();
  const limits = { localHandoffs: 0 };
  const happen = (event: QueueEvent) => transition(queue, event, 0, limits);
  for (let id = 1; id <= 3; id += 1) happen({ type: 'joined', task: counter(id) });
  happen(granted(1, { tokens: undefined }));
  happen({ type: 'others', grant: 1, count: queue.requests.size });
  const ended = happen({ type: 'finished', grant: 1, task: 1 });
  expect(ended).toMatchObject([{ type: 'start', task: 2, grant: 1 }, { type: 'give-up' }]);
  happen({ type: 'others', grant: 1, count: queue.requests.size + 1 });
  const yielded = happen({ type: 'finished', grant: 1, task: 2 });
  expect(yielded, 'somebody else waits').toMatchObject([{ type: 'release', grant: 1 }]);
});

test('a retained grant serves the next task here, and goes when somebody waits or its time is over', () => {
  const queue = emptyQueue();
  const happen = (event: QueueEvent) => transition(queue, event, 0, LIMITS);
  const asks = happen({ type: 'joined', task: task(1, retaining) });
  expect(asks, 'tokens for those to come').toMatchObject([{ type: 'ask', tokens: 16 }]);
  happen(granted(1, { tokens: { first: 10n, count: 16 } }));
  const kept = happen({ type: 'finished', grant: 1, task: 1 });
  expect(kept).toEqual([{ type: 'retain', grant: 1, retainMs: 50 }]);
  const next = happen({ type: 'joined', task: task(2, retaining) });
  expect(next).toMatchObject([{ type: 'start', grant: 1, token: 11n, isHandedOver: true }]);
  happen({ type: 'finished', grant: 1, task: 2 });
  const asked = happen({ type: 'others', grant: 1, count: 1 });
  expect(asked).toEqual([{ type: 'release', grant: 1 }]);
});

test('what tasks took turns with is kept for a turn of the event loop after the last one', () => {
  const queue = emptyQueue();
  const happen = (event: QueueEvent) => transition(queue, event, 0, LIMITS);
  const finish = (task: number) => happen({ type: 'finished', grant: 1, task });
  const lingered: QueueEvent = { type: 'lingered', grant: 1 };
  happen({ type: 'joined', task: patient(1) });
  happen(granted(1, { tokens: { first: 10n, count: 90 } }));
  happen({ type: 'joined', task: patient(2) });
  expect(finish(1)).toMatchObject([{ type: 'start', task: 2 }]);
  expect(finish(2)).toEqual([{ type: 'linger', grant: 1, begins: true }]);
  expect(happen({ type: 'joined', task: patient(3) })).toMatchObject([{ type: 'start', task: 3 }]);
  expect(finish(3), 'one turn is waited for').toEqual([
    { type: 'linger', grant: 1, begins: false },
  ]);
  expect(happen(lingered), 'not a whole one').toEqual([{ type: 'linger', grant: 1, begins: true }]);
  expect(happen(lingered)).toEqual([{ type: 'release', grant: 1 }]);
  expect(isIdle(queue)).toBe(true);
});

test('what lingers goes as soon as somebody waits elsewhere', () => {
  const queue = emptyQueue();
  const happen = (event: QueueEvent) => transition(queue, event, 0, LIMITS);
  happen({ type: 'joined', task: patient(1) });
  happen({ type: 'joined', task: patient(2) });
  happen(granted(1, { tokens: { first: 10n, count: 90 } }));
  happen({ type: 'finished', grant: 1, task: 1 });
  happen({ type: 'finished', grant: 1, task: 2 });
  const asked = happen({ type: 'others', grant: 1, count: 1 });
  expect(asked).toEqual([{ type: 'release', grant: 1 }]);
  expect(happen({ type: 'lingered', grant: 1 }), 'nothing is left').toEqual([]);
});

test('a task whose grant had ended as it got it has its old place in line again', () => {
  const queue = emptyQueue();
  const happen = (event: QueueEvent) => transition(queue, event, 0, LIMITS);
  for (let id = 1; id <= 4; id += 1) happen({ type: 'joined', task: patient(id) });
  happen(granted(1));
  happen({ type: 'lost', grant: 1 });
  happen({ type: 'rejoined', task: patient(1) });
  expect(Array.from(queue.waiting.keys())).toEqual([1, 2, 3, 4]);
});
