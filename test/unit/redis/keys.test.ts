import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeTag, redisKeys } from '../../../src/drivers/redis/keys.js';

/** As Redis Cluster cuts it: between the first `{` and the next `}`. */
const slotTag = (key: string): string => /\{([^}]*)\}/.exec(key)?.[1] ?? '';

test('keys of one resource share a slot tag, and of two resources never a key', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 });
  fc.assert(
    fc.property(text, text, (one, other) => {
      const keys = redisKeys('lock');
      expect(slotTag(keys.key(one))).toBe(encodeTag(one));
      expect(slotTag(keys.key(one, ':q'))).toBe(slotTag(keys.key(one)));
      expect(keys.key(one) === keys.key(other)).toBe(one === other);
      expect(keys.key(one)).toMatch(/^tricord:default:lock:\{[\w.:@%-]+\}$/);
    }),
  );
});

test('a namespace outside its characters is refused, with what to pass', () => {
  for (const namespace of ['', 'a b', 'a:b', 'x'.repeat(65)]) {
    expect(() => redisKeys('lock', namespace)).toThrow(/namespace is .*; pass 1 to 64 characters/);
  }
});
