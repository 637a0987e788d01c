import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import superjson from 'superjson';
import { describe, expect, test } from 'vitest';
import {
  type Codec,
  type CompressionOptions,
  compressed,
  createCache,
  jsonCodec,
  v8Codec,
} from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { plant } from './shared-memory.js';
import { cacheBench } from './support.js';

const packr = new Packr({ structuredClone: true });
const msgpack: Codec = {
  id: 'msgpackr',
  form: 'bytes',
  encode: (value) => packr.pack(value),
  decode: (bytes) => packr.unpack(bytes),
};
const supered: Codec = {
  id: 'superjson',
  form: 'text',
  encode: superjson.stringify,
  decode: superjson.parse,
};
const codecs: readonly Codec[] = [
  jsonCodec,
  v8Codec,
  msgpack,
  supered,
  compressed(jsonCodec, { aboveBytes: 20 }),
  compressed(v8Codec, { aboveBytes: 0, algorithm: 'deflate' }),
  compressed(supered, { aboveBytes: 20, algorithm: 'brotli' }),
];
const named = codecs.map((codec) => [codec.id, codec] as const);

/** What all of them carry. */
const order = {
  id: 'Bestellung-№-7 🎉',
  at: new Date(1_700_000_000_000),
  lines: [{ sku: 'a', count: 2, price: 9.99 }, null],
  tags: new Set(['new', 'é']),
  stock: new Map([['north', 3]]),
  note: '\u0000\u00ff\u2028'.repeat(50),
};

function hearing(channel: string) {
  const events: Record<string, unknown>[] = [];
  const listen = (event: unknown): void => void events.push(event as Record<string, unknown>);
  subscribe(channel, listen);
  return { events, [Symbol.dispose]: () => unsubscribe(channel, listen) };
}

describe.each(named)('the codec %s', (_, codec) => {
  test('gives one type from the loader, from memory and from the shared tier', async () => {
    const { node } = cacheBench();
    const [a, b] = [node<object>({ codec }), node<object>({ codec })];
    const answers = [
      await a.getOrLoad('order', () => order, { tags: ['tägs'] }),
      await a.get('order'),
      a.peek('order'),
      await b.get('order'),
      b.peek('order'),
    ];
    for (const answer of answers) assert.deepStrictEqual(answer, order);
    expect(b.stats().tiers.map(({ hitCount }) => hitCount)).toEqual([1, 1]);
    await b.invalidateTag('tägs');
    expect(await b.get('order')).toBeUndefined();
  });

  test('lets nobody change what is cached, neither the writer nor a reader', async () => {
    const { node } = cacheBench();
    const cache = node<{ list: number[]; at: Date }>({ codec });
    const given = { list: [1], at: new Date(0) };
    await cache.set('key', given);
    given.list.push(2);
    for (let i = 0; i < 3; i += 1) {
      const found = await cache.get('key');
      expect(found).toEqual({ list: [1], at: new Date(0) });
      found?.at.setTime(5);
    }
    const plain = node<readonly number[]>({ codec });
    await plain.set('plain', [1]);
    expect(plain.peek('plain'), 'a value without such parts is shared').toBe(plain.peek('plain'));
    expect(Object.isFrozen(plain.peek('plain'))).toBe(true);
  });

  test('keeps that there is none, stale entries and tags', async () => {
    const { node, clock } = cacheBench();
    const options = { codec, negativeTtlMs: 1_000, staleMs: 60_000 };
    const [a, b] = [node<object>(options), node<object>(options)];
    await a.getOrLoad('none', () => undefined);
    expect(await b.getOrLoad('none', () => ({}))).toBeUndefined();
    await a.set('key', [1]);
    await clock.advance(60_001);
    expect(await b.getOrLoad('key', () => [2])).toEqual([1]);
    expect(b.stats().staleCount).toBe(1);
  });

  test.each(named.filter(([id]) => id !== codec.id))(
    'takes an entry of %s for a miss, tells, and replaces it once',
    async (_other, other) => {
      const { node } = cacheBench();
      await node<object>({ codec: other }).set('key', order);
      const cache = node<object>({ codec });
      using heard = hearing('tricord:cache.unreadable');
      expect(await cache.get('key')).toBeUndefined();
      expect(heard.events).toEqual([
        { cache: 'bench', tier: 'shared', key: 'key', reason: 'other-codec', codec: other.id },
      ]);
      const tier = cache.stats().tiers[1];
      expect(tier).toMatchObject({ unreadableCount: 1, missCount: 1, failureCount: 0 });
      expect(await cache.getOrLoad('key', () => order)).toEqual(order);
      expect(await node<object>({ codec }).get('key')).toEqual(order);
      expect(cache.stats().loadCount).toBe(1);
    },
  );
});

describe('bytes that another program wrote', () => {
  test.each(named.slice(1))('never make %s throw, or answer nonsense', async (_, codec) => {
    const { node, shared, clock } = cacheBench();
    const cache = node<object>({ codec, tiers: [shared] });
    const flag = codec.form === 'bytes' ? '{"b":1}' : '{}';
    const property = fc.asyncProperty(fc.string({ unit: 'binary-ascii' }), async (junk) => {
      await plant(shared, clock, 'bench', 'key', `[2,"${codec.id}",${flag}]\n\u00ff${junk}`);
      await cache.get('key');
      await cache.getOrLoad('key', () => ({}));
    });
    await fc.assert(property, { numRuns: 50, seed: Number(process.env.SEED ?? 7) });
    expect(cache.stats().tiers[0]).toMatchObject({ failureCount: 0 });
  });

  test('of the right codec that it cannot decode are a miss', async () => {
    const { node, shared, clock } = cacheBench();
    const cache = node<object>({ codec: v8Codec });
    await plant(shared, clock, 'bench', 'key', '[2,"v8",{"b":1}]\nnonsense');
    using heard = hearing('tricord:cache.unreadable');
    expect(await cache.get('key')).toBeUndefined();
    expect(heard.events).toMatchObject([{ reason: 'not-decoded', codec: 'v8' }]);
    expect(await cache.getOrLoad('key', () => [1])).toEqual([1]);
  });

  test('that would grow beyond bytesMax are a miss, and not decompressed', async () => {
    const { node, shared, clock } = cacheBench();
    const bomb = gzipSync(Buffer.alloc(20 * 1_024 * 1_024)).toString('latin1');
    await plant(shared, clock, 'bench', 'key', `[2,"json+zip",{"b":1}]\n\u0001${bomb}`);
    const cache = node<object>({ codec: compressed(jsonCodec, { bytesMax: 1_024 }) });
    using heard = hearing('tricord:cache.unreadable');
    expect(await cache.get('key')).toBeUndefined();
    expect(heard.events).toMatchObject([{ reason: 'too-large', codec: 'json+zip' }]);
  });
});

describe('what a codec cannot encode is refused before anything is sent', () => {
  class Money {
    readonly cents = 1;
  }
  const broken = (encode: () => unknown): Codec =>
    ({ id: 'broken', form: 'text', encode, decode: () => 1 }) as Codec;
  const cases: readonly [string, Codec, unknown, object][] = [
    ['json', jsonCodec, { a: [new Money()] }, { path: 'value.a[0]', type: 'instance of Money' }],
    [
      'v8, a class',
      v8Codec,
      { a: [new Money()] },
      { path: 'value.a[0]', type: 'instance of Money' },
    ],
    ['v8, a function', v8Codec, new Map([['f', () => {}]]), { path: 'value{f}', type: 'function' }],
    ['v8, an error with more', v8Codec, Object.assign(new Error('x'), { code: 1 }), {}],
    ['compressed', compressed(jsonCodec), { f: Symbol('x') }, { path: 'value.f', type: 'symbol' }],
    ['too large', compressed(jsonCodec, { bytesMax: 10 }), 'x'.repeat(20), { path: 'value' }],
    ['no text', broken(() => 5), 1, { type: 'the codec broken gave no text' }],
    [
      'a path of its own',
      broken(() => {
        throw Object.assign(new Error('no'), { path: '.x', type: 'bad' });
      }),
      1,
      { path: 'value.x', type: 'bad' },
    ],
  ];
  test.each(cases)('%s', async (_, codec, value, details) => {
    const { node, shared } = cacheBench();
    const cache = node<unknown>({ codec });
    const refusal = { code: 'CACHE_VALUE_UNSUPPORTED', details: { key: 'key', ...details } };
    await expect(cache.set('key', value)).rejects.toMatchObject(refusal);
    await expect(cache.getOrLoad('key', () => value)).rejects.toMatchObject(refusal);
    expect(shared.count('seize') + shared.count('fill') - shared.count('release')).toBeLessThan(1);
    expect(await cache.get('key')).toBeUndefined();
  });
});

test('v8 carries what the default refuses', async () => {
  const { node } = cacheBench();
  const part = { n: 1 };
  const value: Record<string, unknown> = { a: part, b: part, pattern: /x/gi };
  Object.assign(value, {
    self: value,
    floats: new Float32Array([1, 2]),
    cause: new TypeError('t'),
  });
  const options = { codec: v8Codec };
  await node<object>(options).set('key', value);
  const found = await node<Record<string, unknown>>(options).get('key');
  assert.deepStrictEqual(found, value);
  expect(found?.a).toBe(found?.b);
});

test('every algorithm reads every other, and small or dense values stay as they are', async () => {
  const { node, shared } = cacheBench();
  const algorithms = ['gzip', 'deflate', 'brotli'] as const;
  for (const algorithm of algorithms) {
    const codec = compressed(jsonCodec, { aboveBytes: 100, algorithm });
    await node<string>({ codec }).set(algorithm, 'x'.repeat(5_000));
    for (const reading of algorithms) {
      const reader = node<string>({ codec: compressed(jsonCodec, { algorithm: reading }) });
      expect(await reader.get(algorithm)).toBe('x'.repeat(5_000));
    }
    expect(codec.encode('x'.repeat(5_000)).length).toBeLessThan(100);
    expect(codec.encode('small')).toEqual(Buffer.from('\u0000[1,"small"]'));
  }
  expect(shared.count('read')).toBe(9);
});

test('what is no codec is refused at construction', () => {
  const tiers = [memoryCache()];
  const cases: [unknown, RegExp][] = [
    [{}, /codec/],
    [{ ...msgpack, form: 'json' }, /form/],
    [{ ...msgpack, id: 'json' }, /codec\.id/],
    [{ ...msgpack, id: 'A b' }, /codec\.id/],
    [5, /codec/],
  ];
  for (const [codec, message] of cases) {
    expect(() => createCache({ name: 'x', tiers, ttlMs: 1, codec: codec as Codec })).toThrow(
      message,
    );
  }
  for (const options of [{ algorithm: 'zstd' }, { aboveBytes: -1 }, { bytesMax: 0 }]) {
    expect(() => compressed(jsonCodec, options as CompressionOptions)).toThrow(TypeError);
  }
});
