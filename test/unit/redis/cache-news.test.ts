import { seededRandom } from 'tricord';
import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { cachePublisher } from '../../../src/drivers/redis/cache-changes.js';
import {
  heard,
  type NewsEffect,
  type NewsEvent,
  type NewsState,
  newsOf,
} from '../../../src/drivers/redis/cache-news.js';
import { newsOfText, newsText } from '../../../src/drivers/redis/cache-news-text.js';
import { redisScript } from '../../../src/drivers/redis/script.js';
import { explore, type Model } from './explore.js';

type Heard = Exclude<NewsEvent, { readonly kind: 'opened' | 'closed' | 'checked' }>;
type Seen = NewsState['publishers'] extends ReadonlyMap<string, infer One> ? One : never;

/** A change that another process has asked for. */
interface Call {
  readonly number: number;
  /** The version that it made, once it ran. */
  readonly version?: number;
  /** Whether its caller has an answer or gave up; acknowledged is what ran before. */
  readonly settled: 'no' | 'acknowledged' | 'given up';
}

/**
 * One other process that changes one key, one reader with a copy of it, and a bus between them that
 * keeps messages for as long as it likes, gives them in any order, and loses them.
 */
interface World {
  readonly version: number;
  readonly calls: readonly Call[];
  readonly floorBefore: number;
  readonly bus: readonly Heard[];
  readonly news: Omit<NewsState, 'publishers'> & { readonly publishers: readonly [string, Seen][] };
  readonly copy: number | undefined;
  readonly reading: { readonly version: number; readonly isVoid: boolean } | undefined;
  /** How often each thing happened, so that it comes to an end. */
  readonly counts: Readonly<Record<'beats' | 'own' | 'checks' | 'losses' | 'reads', number>>;
  /** Checks since the last beat, of whom has been heard. */
  readonly silence: { readonly self: number; readonly other: number | undefined };
  readonly fault?: string | undefined;
}

const INITIAL: World = {
  version: 0,
  calls: [],
  floorBefore: 0,
  bus: [],
  news: { ...heard(newsOf('self'), { kind: 'opened' })[0], publishers: [] },
  copy: undefined,
  reading: undefined,
  counts: { beats: 0, own: 0, checks: 0, losses: 0, reads: 0 },
  silence: { self: 0, other: undefined },
};

const dropped = (world: World): World => ({
  ...world,
  copy: undefined,
  reading: world.reading && { ...world.reading, isVoid: true },
});

function acting(world: World, effect: NewsEffect): World {
  if (effect.kind !== 'deaf') return dropped(world);
  return stepped(dropped(world), { kind: 'closed' });
}

function stepped(world: World, event: NewsEvent): World {
  const before = { ...world.news, publishers: new Map(world.news.publishers) };
  const [after, effects] = heard(before, event);
  const news = { ...after, publishers: [...after.publishers].sort() };
  return effects.reduce(acting, { ...world, news });
}

const count = (world: World, what: keyof World['counts']): World => ({
  ...world,
  counts: { ...world.counts, [what]: world.counts[what] + 1 },
});

/** Their order is nobody's promise, so it is always the same one here. */
const onBus = (bus: readonly Heard[], message: Heard): readonly Heard[] =>
  [...bus, message].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

/** The other process, which may stop at any moment: asks for a change, which runs before or after it gave up, and says its floor. */
function* publishing(world: World, max: Bounds): Generator<[string, World]> {
  const { calls, bus, version, counts } = world;
  const number = calls.length + 1;
  if (calls.length < max.calls) {
    yield [`call ${number}`, { ...world, calls: [...calls, { number, settled: 'no' }] }];
  }
  for (const [index, call] of calls.entries()) {
    const having = (one: Call): Pick<World, 'calls'> => ({ calls: calls.with(index, one) });
    if (call.version === undefined) {
      const told = { of: 'keys', names: ['key'] } as const;
      const change: Heard = { kind: 'change', publisher: 'other', number: call.number, told };
      const ran = having({ ...call, version: version + 1 });
      yield [
        `run ${call.number}`,
        { ...world, ...ran, version: version + 1, bus: onBus(bus, change) },
      ];
    }
    if (call.settled === 'no') {
      const settled = call.version === undefined ? 'given up' : 'acknowledged';
      yield [`settle ${call.number}`, { ...world, ...having({ ...call, settled }) }];
    }
  }
  if (counts.beats < max.beats) {
    const open = calls.find(({ settled }) => settled === 'no');
    const beat: Heard = { kind: 'beat', publisher: 'other', floor: world.floorBefore };
    const floorBefore = (open?.number ?? number) - 1;
    yield ['beat', count({ ...world, bus: onBus(bus, beat), floorBefore }, 'beats')];
  }
}

/** What is heard, lost, or missing. */
function* hearing(world: World, max: Bounds): Generator<[string, World]> {
  const { bus, counts, silence } = world;
  for (const [index, message] of bus.entries()) {
    const left = { ...world, bus: bus.filter((_, other) => other !== index) };
    const other = message.kind === 'change' ? (silence.other ?? 0) : 0;
    const next = stepped({ ...left, silence: { ...silence, other } }, message);
    yield [`hear ${JSON.stringify(message)}`, { ...next, fault: faultAfter(next, message) }];
    if (counts.losses < max.losses) {
      yield [`lose ${JSON.stringify(message)}`, count(left, 'losses')];
    }
  }
  if (counts.own < max.own) {
    const own = stepped(count(world, 'own'), { kind: 'beat', publisher: 'self', floor: 0 });
    yield ['hear oneself', { ...own, silence: { ...silence, self: 0 } }];
  }
  if (counts.checks < max.checks && world.news.phase !== 'closed') yield ['check', checked(world)];
}

function checked(world: World): World {
  const { self, other } = world.silence;
  const silent = { self: self + 1, other: other === undefined ? undefined : other + 1 };
  const next = stepped(count({ ...world, silence: silent }, 'checks'), { kind: 'checked' });
  const isDeaf = silent.self === 3 && next.news.phase !== 'closed';
  const isForgotten = silent.other === 3;
  const fault = isDeaf
    ? 'goes on without hearing itself'
    : isForgotten && next.copy !== undefined
      ? 'keeps a copy though a publisher is silent'
      : undefined;
  return { ...next, fault, silence: isForgotten ? { ...silent, other: undefined } : silent };
}

function faultAfter({ copy, calls, news }: World, message: Heard): string | undefined {
  if (news.phase !== 'live' || copy === undefined) return undefined;
  if (message.kind === 'change') {
    const version = calls[message.number - 1]?.version ?? 0;
    return copy < version ? 'keeps a copy of what was told to have changed' : undefined;
  }
  const isStale = calls.some(
    ({ number, version = 0, settled }) =>
      settled === 'acknowledged' && number <= message.floor && copy < version,
  );
  return isStale ? 'keeps an old copy though a beat says that its change was told' : undefined;
}

/** The reader: a ticket before the question, and a copy only while it hears. */
function* reading(world: World, max: Bounds): Generator<[string, World]> {
  const { version, news, counts } = world;
  if (world.reading === undefined && counts.reads < max.reads) {
    yield ['ask', count({ ...world, reading: { version, isVoid: false } }, 'reads')];
  }
  if (world.reading === undefined) return;
  const isKept = news.phase === 'live' && !world.reading.isVoid;
  const copy = isKept ? world.reading.version : world.copy;
  yield ['answer', { ...world, copy, reading: undefined }];
}

type Bounds = Readonly<Record<'calls' | 'beats' | 'own' | 'checks' | 'losses' | 'reads', number>>;

const modelOf = (max: Bounds): Model<World> => ({
  initial: INITIAL,
  next: (world) => [...publishing(world, max), ...hearing(world, max), ...reading(world, max)],
  faultOf: ({ fault, copy, news }) =>
    fault ?? (copy !== undefined && news.phase !== 'live' ? 'keeps a copy unheard' : undefined),
});

test.each<[string, Bounds]>([
  [
    'a beat that tells of its change, whatever was lost or reordered',
    { calls: 2, beats: 2, own: 1, checks: 0, losses: 1, reads: 1 },
  ],
  [
    'three silent seconds of a publisher, which may have died',
    { calls: 1, beats: 1, own: 1, checks: 4, losses: 1, reads: 1 },
  ],
  [
    'three seconds in which this process did not hear itself',
    { calls: 1, beats: 0, own: 2, checks: 5, losses: 0, reads: 2 },
  ],
])('in every order of events, no old copy outlives %s', (_, bounds) => {
  expect(explore(modelOf(bounds))).toMatchObject({ holds: true });
});

/** What follows from events, one after another, of a process that hears itself. */
function after(...events: readonly NewsEvent[]): (readonly NewsEffect[])[] {
  const self = { kind: 'beat', publisher: 'self', floor: 0 } as const;
  let [state] = heard(heard(newsOf('self'), { kind: 'opened' })[0], self);
  return events.map((event) => {
    const [next, effects] = heard(state, event);
    state = next;
    return effects;
  });
}

const KEY = { of: 'keys', names: ['key'] } as const;
const change = (number: number, publisher = 'a'): NewsEvent =>
  ({ kind: 'change', publisher, number, told: KEY }) as const;
const beat = (floor: number, publisher = 'a'): NewsEvent => ({ kind: 'beat', publisher, floor });
const DROP = [{ kind: 'drop', told: KEY }];
const CLEAR = [{ kind: 'clear' }];

test('what comes in another order, or twice, drops its keys and no more', () => {
  const events = [change(2), beat(0), change(1), change(2), change(3), beat(3)];
  expect(after(...events)).toEqual([DROP, [], DROP, DROP, DROP, []]);
});

test('a process that starts, and one that says goodbye, leave the copies of others alone', () => {
  const bye = { kind: 'bye', publisher: 'a', floor: 1 } as const;
  const check = { kind: 'checked' } as const;
  const own = beat(0, 'self');
  const events = [beat(0), change(1), bye, check, own, check, own, check, own, check];
  expect(after(...events).flat()).toEqual(DROP);
});

test('a process that is heard of late, and one that comes back, may have said something before', () => {
  expect(after(beat(7), change(8), beat(8))).toEqual([CLEAR, DROP, []]);
});

test('of whom nothing comes any more, memory is emptied once: what he changes then nobody tells', () => {
  const check = { kind: 'checked' } as const;
  const second = [beat(0, 'self'), check];
  const silence = Array.from({ length: 10 }, () => second).flat();
  expect(after(beat(0), change(1), ...silence).flat()).toEqual([...DROP, ...CLEAR]);
});

test('a call that hangs holds back for three beats at most what was told after it', async () => {
  const clock = virtualClock();
  const said: unknown[] = [];
  const never = new Promise<never>(() => {});
  const publisher = cachePublisher({
    calls: {
      argument: (text) => text,
      mget: () => never,
      script: (_, names) => (names[0] === 'hangs' ? never : Promise.resolve(1)),
      send: (_, call) => call(),
      dispose: () => {},
    },
    client: {
      async publish(_: string, text: string) {
        said.push(newsOfText(text));
      },
    } as never,
    keys: { newsChannel: 'news' } as never,
    ...{ clock, random: seededRandom(1) },
  });
  const script = redisScript('test', 'return 1');
  publisher.beat();
  void publisher.script(script, ['hangs'], [], { timeoutMs: 60_000 }, KEY);
  await publisher.script(script, ['answers'], [], { timeoutMs: 60_000 }, KEY);
  await clock.advance(3_000);
  expect(said.at(-1)).toMatchObject({ kind: 'beat', floor: 2 });
  await publisher.end();
});

test('publishers and numbers without end are bounded, and nothing is kept for them', () => {
  const many = Array.from({ length: 3_000 }, (_, index) => beat(0, `p${index}`));
  expect(after(...many).filter(([effect]) => effect?.kind === 'clear').length).toBeGreaterThan(1);
  const gaps = Array.from({ length: 1_500 }, (_, index) => change(2 * index + 2));
  const kinds = after(...gaps).map(([effect]) => effect?.kind);
  expect(kinds.filter((kind) => kind === 'clear')).toHaveLength(1);
  expect(kinds.filter((kind) => kind === 'drop')).toHaveLength(gaps.length - 1);
});

test('a message is the same after its way, and what is no message is told apart', () => {
  const told = [
    { of: 'keys', names: ['a "b" {c}, ä', ''] },
    { of: 'tags', names: [] },
    { of: 'all' },
  ] as const;
  for (const each of told) {
    const news = { kind: 'change', publisher: 'p', number: 7, told: each } as const;
    expect(newsOfText(newsText(news))).toEqual(news);
  }
  const count = { kind: 'bye', publisher: 'p', floor: 0 } as const;
  expect(newsOfText(newsText(count))).toEqual(count);
  const bad = ['', '{}', '7', '[]', '[2,"p","beat",1]', '[1,"p","beat",-1]', '[1,"p","beat",0.5]'];
  bad.push(
    '[1,2,"beat",1]',
    '[1,"p","other",1]',
    '[1,"p","change",1,"keys",[1]]',
    '[1,"p","change"',
  );
  for (const text of bad) expect(newsOfText(text), text).toBeUndefined();
});
