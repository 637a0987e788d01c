import { describe, expect, test } from 'vitest';
import { decoded } from '../../../src/cache/decoded.js';
import type { CacheIsolation } from '../../../src/cache/isolation.js';
import { type Codec, createCache, jsonCodec, v8Codec } from '../../../src/index.js';
import { virtualClock } from '../../../src/testing.js';
import { sharedMemory } from './shared-memory.js';

const local = (value: unknown) => ({ value, isShareable: true });

describe('a text that was decoded', () => {
  test('is known again under its key, and no other text and no other key is', () => {
    const known = decoded();
    known.put('a', 'text', local(1));
    expect(known.get('a', 'text')?.value).toBe(1);
    expect(known.get('a', 'texs')).toBeUndefined();
    expect(known.get('b', 'text')).toBeUndefined();
    known.put('a', 'texs', local(2));
    expect(known.get('a', 'text')).toBeUndefined();
    expect(known.get('a', 'texs')?.value).toBe(2);
  });

  test('is forgotten among 4,096 others, and later when it was asked for meanwhile', () => {
    const known = decoded();
    known.put('old', 'text', local(1));
    known.put('asked', 'text', local(2));
    for (let i = 0; i < 4_096; i += 1) {
      known.put(`key:${i}`, 'text', local(i));
      if (i === 3_000) expect(known.get('asked', 'text')?.value).toBe(2);
    }
    expect(known.get('old', 'text')).toBeUndefined();
    expect(known.get('asked', 'text')?.value).toBe(2);
  });

  test('is not remembered when it is longer than 16,384 characters; all together hold two million', () => {
    const known = decoded();
    known.put('long', 'x'.repeat(16_385), local(1));
    expect(known.get('long', 'x'.repeat(16_385))).toBeUndefined();
    const text = 'x'.repeat(16_384);
    for (let i = 0; i <= 192; i += 1) known.put(`key:${i}`, text, local(i));
    expect(known.get('key:0', text)).toBeUndefined();
    expect(known.get('key:192', text)?.value).toBe(192);
  });
});

test('nothing is remembered after it was forgotten', () => {
  const known = decoded();
  for (let i = 0; i < 3_000; i += 1) known.put(`key:${i}`, 'text', local(i));
  known.forget();
  expect(known.get('key:0', 'text')).toBeUndefined();
  expect(known.get('key:2999', 'text')).toBeUndefined();
});

describe('a cache over a shared tier alone', () => {
  const open = (isolation: CacheIsolation, codec: Codec) => {
    const clock = virtualClock();
    const tier = sharedMemory(clock);
    const options = { name: 'decoded', ttlMs: 60_000, clock, isolation, codec };
    const node = () => createCache<{ at: number }>({ ...options, tiers: [tier] });
    return { reader: node(), writer: node() };
  };

  test.each([
    ['frozen', jsonCodec],
    ['frozen', v8Codec],
  ] as const)(
    'answers the same frozen value until another one stands there (%s)',
    async (isolation, codec) => {
      const { reader, writer } = open(isolation, codec);
      await writer.set('key', { at: 1 });
      const first = await reader.get('key');
      expect(await reader.get('key')).toBe(first);
      expect(Object.isFrozen(first)).toBe(true);
      await writer.set('key', { at: 2 });
      expect(await reader.get('key')).toEqual({ at: 2 });
      await writer.set('key', { at: 1 });
      expect(await reader.get('key')).toEqual({ at: 1 });
    },
  );

  test('remembers nothing of before its clear', async () => {
    const { reader } = open('frozen', jsonCodec);
    await reader.set('key', { at: 1 });
    const first = await reader.get('key');
    await reader.clear();
    await reader.set('key', { at: 1 });
    const second = await reader.get('key');
    expect(second).toEqual(first);
    expect(second).not.toBe(first);
  });

  test.each(['cloned', 'none'] as const)(
    'gives each reader one of his own (%s)',
    async (isolation) => {
      const { reader, writer } = open(isolation, jsonCodec);
      await writer.set('key', { at: 1 });
      const first = await reader.get('key');
      if (first !== undefined) first.at = 9;
      expect(await reader.get('key')).toEqual({ at: 1 });
    },
  );
});
