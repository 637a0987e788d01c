/**
 * Goal: no order of events leads the queue of one node astray. Method: a small world around the
 * machine (tasks, a backend with one exclusive grant, losses, failures) plays every order of events
 * for a few tasks, and long random ones for many; each step is checked against the invariants.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  emptyQueue,
  isIdle,
  type NodeQueue,
  type QueuedTask,
  type QueueEffect,
  type QueueEvent,
  transition,
} from '../../../src/lock/node-queue.js';

interface World {
  readonly queue: NodeQueue;
  /** Tasks that did not come yet, and of those that came, in their order, what became of them. */
  readonly coming: QueuedTask[];
  readonly arrived: number[];
  readonly fate: Map<number, 'waiting' | 'running' | 'done' | 'refused' | 'failed' | 'left'>;
  /** Requests under way, and whether they were given up. */
  readonly requests: Map<number, { wait: boolean; isGivenUp: boolean }>;
  /** What the backend thinks is granted: at most one. */
  granted: number | undefined;
  readonly reservations: Set<number>;
  nextToken: bigint;
  lastToken: bigint;
  losses: number;
  failures: number;
  othersCount: number;
}

const LIMITS = { localHandoffs: 2 };
const PATIENCE_MS = 100;

function world(tasks: readonly QueuedTask[]): World {
  return {
    ...{ queue: emptyQueue(), coming: [...tasks], arrived: [], fate: new Map() },
    ...{ requests: new Map(), granted: undefined, reservations: new Set() },
    ...{ nextToken: 1n, lastToken: 0n, losses: 0, failures: 0, othersCount: 0 },
  };
}

/** Everything that may happen next. */
function possible(at: World): QueueEvent[] {
  const events: QueueEvent[] = [];
  const [task] = at.coming;
  if (task !== undefined) events.push({ type: 'joined', task });
  for (const [id, fate] of at.fate) {
    if (fate === 'waiting') events.push({ type: 'left', task: id });
    if (fate === 'running') events.push({ type: 'finished', task: id });
  }
  for (const [request, { wait, isGivenUp }] of at.requests) {
    if (at.granted === undefined) events.push(grantOf(at, request));
    else if (!wait) events.push({ type: 'busy', request });
    if (isGivenUp || at.failures > 0) events.push({ type: 'failed', request, error: 'down' });
    if (at.losses > 0) events.push({ type: 'missed', request });
  }
  for (const grant of at.reservations) {
    events.push({ type: 'reserved', grant, tokens: { first: at.nextToken, count: 3 } });
    if (at.failures > 0) events.push({ type: 'reserved', grant, tokens: undefined });
  }
  const { held } = at.queue;
  if (held === undefined) return events;
  if (at.losses > 0) events.push({ type: 'lost', grant: held.id });
  events.push({ type: 'others', grant: held.id, count: at.othersCount === 0 ? 1 : 0 });
  return events;
}

function grantOf(at: World, request: number): QueueEvent {
  const tokens = { first: at.nextToken, count: 2 };
  return { type: 'granted', request, tokens, othersCount: at.othersCount, patienceMs: PATIENCE_MS };
}

/** Lets one event happen, does what the machine says, and checks the world afterwards. */
function step(at: World, event: QueueEvent, nowMs = 0): QueueEffect[] {
  occur(at, event);
  const effects = transition(at.queue, event, nowMs, LIMITS);
  for (const effect of effects) carryOut(at, effect);
  check(at);
  return effects;
}

function occur(at: World, event: QueueEvent): void {
  switch (event.type) {
    case 'joined':
      at.coming.shift();
      at.arrived.push(event.task.id);
      at.fate.set(event.task.id, 'waiting');
      return;
    case 'left':
      at.fate.set(event.task, 'left');
      return;
    case 'finished':
      at.fate.set(event.task, 'done');
      return;
    case 'granted':
      at.requests.delete(event.request);
      at.granted = event.request;
      at.nextToken += BigInt(event.tokens.count);
      return;
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
    case 'lost': {
      at.granted = undefined;
      at.losses -= 1;
      return;
    }
    case 'others':
      at.othersCount = event.count;
  }
}

function carryOut(at: World, effect: QueueEffect): void {
  switch (effect.type) {
    case 'ask':
      at.requests.set(effect.request, { wait: effect.task.wait, isGivenUp: false });
      return;
    case 'give-up': {
      const request = at.requests.get(effect.request);
      if (request !== undefined) request.isGivenUp = true;
      return;
    }
    case 'return':
    case 'release':
      expect(at.granted, 'only what is granted is given back, once').toBe(
        effect.type === 'return' ? effect.request : effect.grant,
      );
      at.granted = undefined;
      return;
    case 'start':
      expect(at.granted, 'a task starts on the grant that stands').toBe(effect.grant);
      expect(effect.token > at.lastToken, 'tokens increase').toBe(true);
      expect(at.fate.get(effect.task)).toBe('waiting');
      expect(firstWaiting(at), 'first come, first served').toBe(effect.task);
      at.lastToken = effect.token;
      at.fate.set(effect.task, 'running');
      return;
    case 'refuse':
    case 'fail':
      expect(at.fate.get(effect.task)).toBe('waiting');
      at.fate.set(effect.task, effect.type === 'refuse' ? 'refused' : 'failed');
      return;
    case 'reserve':
      at.reservations.add(effect.grant);
  }
}

const firstWaiting = (at: World) => at.arrived.find((id) => at.fate.get(id) === 'waiting');

function check({ queue, fate, granted, requests }: World): void {
  const { held, request } = queue;
  const waiting = Array.from(fate).filter(([, state]) => state === 'waiting');
  expect(new Set(waiting.map(([id]) => id)), 'who waits').toEqual(new Set(queue.waiting.keys()));
  expect(held?.id, 'what is held here stands there').toBe(granted);
  if (held?.holder !== undefined) expect(fate.get(held.holder)).toBe('running');
  if (held !== undefined && held.holder === undefined) {
    expect(held.reservation, 'held by nobody only while tokens come').toBe('under-way');
  }
  const isServed = held !== undefined || request !== undefined;
  if (waiting.length > 0) expect(isServed, 'whoever waits has something to wait for').toBe(true);
  if (request !== undefined) {
    expect(requests.get(request.id)?.isGivenUp, 'the current request is under way').toBe(false);
    expect(waiting.length, 'nobody asks for nobody').toBeGreaterThan(0);
  }
  const current = Array.from(requests.values()).filter((each) => !each.isGivenUp);
  expect(current.length, 'the node is one contender').toBeLessThanOrEqual(1);
}

const keyOf = (at: World): string =>
  JSON.stringify(at, (_, value) => {
    if (typeof value === 'bigint') return String(value);
    return value instanceof Map || value instanceof Set ? Array.from(value) : value;
  });

function explore(tasks: readonly QueuedTask[], faults: { losses: number; failures: number }) {
  const seen = new Set<string>();
  const open: World[] = [{ ...world(tasks), ...faults }];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const events = possible(at);
    if (events.length === 0) {
      expect(isIdle(at.queue), `stuck: ${keyOf(at)}`).toBe(true);
    }
    for (const event of events) {
      const next = structuredClone(at);
      step(next, event);
      const key = keyOf(next);
      if (seen.has(key)) continue;
      seen.add(key);
      open.push(next);
    }
  }
  return seen.size;
}

const patient = (id: number): QueuedTask => ({ id, wait: true });
const trying = (id: number): QueuedTask => ({ id, wait: false });

test('every order of events of three tasks, with a loss and a failure, keeps the invariants', () => {
  const faults = { losses: 1, failures: 1 };
  expect(explore([patient(1), patient(2), patient(3)], faults)).toBeGreaterThan(1_000);
});

test('every order of events with tasks that do not wait keeps the invariants', () => {
  const faults = { losses: 1, failures: 1 };
  expect(explore([trying(1), patient(2), trying(3)], faults)).toBeGreaterThan(500);
  expect(explore([patient(1), trying(2), patient(3)], faults)).toBeGreaterThan(500);
});

test('long random runs of many tasks keep the invariants and end with everybody answered', () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }),
      fc.array(fc.nat(1_000), { minLength: 200, maxLength: 400 }),
      (waits, choices) => {
        const tasks = waits.map((wait, id) => ({ id, wait }));
        const at: World = { ...world(tasks), losses: 3, failures: 3 };
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

test('tokens are taken one by one while nobody else is here, and in blocks by need', () => {
  const queue = emptyQueue();
  const join = (id: number) => transition(queue, { type: 'joined', task: patient(id) }, 0, LIMITS);
  expect(join(1)).toEqual([{ type: 'ask', request: 1, task: patient(1), tokens: 1 }]);
  const tokens = { first: 10n, count: 1 };
  const granted: QueueEvent = {
    ...{ type: 'granted', request: 1, tokens, othersCount: 0, patienceMs: PATIENCE_MS },
  };
  expect(transition(queue, granted, 0, LIMITS)).toMatchObject([{ type: 'start', token: 10n }]);
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
