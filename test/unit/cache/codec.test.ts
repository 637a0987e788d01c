import assert from 'node:assert/strict';
import vm from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeValue, encodeValue } from '../../../src/cache/codec.js';
import { handOut, isolate } from '../../../src/cache/isolation.js';

const roundTrip = (value: unknown) =>
  handOut(
    'key',
    decodeValue(() => 'key', textOf(value)),
  );
const textOf = (value: unknown) => encodeValue(isolate('key', value));

const values = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.bigInt(),
    fc.boolean(),
    fc.constantFrom(null, undefined, -0, Number.NaN, Number.POSITIVE_INFINITY),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array(),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  ),
  object: fc.dictionary(
    fc.oneof(fc.string(), fc.constantFrom('$date', '$map', '$plain', '__proto__', 'toJSON')),
    tie('any'),
    { maxKeys: 4, noNullPrototype: false },
  ),
  any: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    tie('leaf'),
    tie('object'),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.array(fc.tuple(tie('any'), tie('any')), { maxLength: 3 }).map((pairs) => new Map(pairs)),
    fc.array(tie('leaf'), { maxLength: 3 }).map((items) => new Set(items)),
  ),
})).any;

describe('the text of a value', () => {
  test('gives back every kind of value exactly, however it is nested', () => {
    const property = fc.property(values, (value) => {
      assert.deepStrictEqual(roundTrip(value), value);
      // What the process keeps is the same as what comes back from afar.
      assert.deepStrictEqual(handOut('key', isolate('key', value)), value);
    });
    fc.assert(property, { numRuns: 2_000, seed: Number(process.env.SEED ?? Date.now() % 2 ** 31) });
  });

  test('is bare JSON where nothing needs a tag', () => {
    const value = { name: 'Café 🎉', price: 1.5, tags: ['a', null], $date: 5 };
    expect(textOf(value)).toBe(`[1,${JSON.stringify(value)}]`);
  });

  test('keeps a date that is none', () => {
    expect(roundTrip(new Date(Number.NaN))).toEqual(new Date(Number.NaN));
  });

  test('of a newer format is refused with UPGRADE_NEEDED, whatever follows', () => {
    for (const text of ['[3,{"a":1}]', '[12,\u0000binary']) {
      assert.throws(() => decodeValue(() => 'key', text), { code: 'UPGRADE_NEEDED' });
    }
  });

  test('that no cache wrote is refused with DATA_CORRUPT', () => {
    for (const text of ['', 'null', '{"a":1}', '[1,', '[1,{"$x":1},{"t":1}]', '[0,1]', '[]']) {
      assert.throws(() => decodeValue(() => 'key', text), { code: 'DATA_CORRUPT' }, text);
    }
  });
});

describe('the cache’s own copy', () => {
  const cycle: Record<string, unknown> = {};
  cycle.list = [{ cycle }];
  class Product {
    readonly id = 1;
  }
  class Names extends Map {}
  const deep = Array.from({ length: 600 }).reduce<unknown>((inner) => [inner], 0);
  const REFUSED: readonly (readonly [unknown, path: string, type: string | RegExp])[] = [
    [{ a: { b: [0, () => 1] } }, 'value.a.b[1]', 'function'],
    [{ 'a b': Symbol('s') }, 'value["a b"]', 'symbol'],
    [{ [Symbol('s')]: 1 }, 'value', 'symbol as a name'],
    [{ p: new Product() }, 'value.p', 'instance of Product'],
    [[new Names()], 'value[0]', 'instance of Names'],
    [new Map([['k', /x/]]), 'value{"k"}', 'instance of RegExp'],
    [new Error('e'), 'value', 'instance of Error'],
    [Promise.resolve(1), 'value', 'instance of Promise'],
    [Object(1), 'value', 'instance of Number'],
    [new Float64Array(1), 'value', 'instance of Float64Array'],
    [new Array(3), 'value', 'sparse or extended array'],
    [Object.assign([1], { extra: 1 }), 'value', 'sparse or extended array'],
    [Object.assign(new Date(0), { extra: 1 }), 'value', 'instance of Date'],
    [Object.create({ inherited: 1 }), 'value', 'instance of Object'],
    [cycle, 'value.list[0].cycle', 'cycle'],
    [deep, `value${'[0]'.repeat(500)}`, 'nesting of over 500'],
  ];
  test.each(REFUSED)(
    'refuses what would not come back as it was, with the path: %o',
    (value, path, type) => {
      try {
        isolate('sku:42', value);
      } catch (error) {
        expect(error).toMatchObject({
          code: 'CACHE_VALUE_UNSUPPORTED',
          details: { key: 'sku:42', path, type },
        });
        return;
      }
      assert.fail('it was accepted');
    },
  );

  test('takes an object twice that is no cycle', () => {
    const twice = { n: 1 };
    expect(roundTrip([twice, { twice }])).toEqual([{ n: 1 }, { twice: { n: 1 } }]);
  });

  test('takes plain objects, arrays, maps and dates of another realm', () => {
    const value = vm.runInNewContext(
      '({ list: [1], map: new Map([["k", { d: new Date(5) }]]), bytes: new Uint8Array([1]) })',
    );
    const expected = {
      list: [1],
      map: new Map([['k', { d: new Date(5) }]]),
      bytes: new Uint8Array([1]),
    };
    assert.deepStrictEqual(roundTrip(value), expected);
    assert.deepStrictEqual(handOut('key', isolate('key', value)), expected);
  });

  test('is frozen where it can be, and copied for each reader where it cannot', () => {
    const plain = isolate('key', { list: [{ n: 1 }] });
    const first = handOut('key', plain) as { list: { n: number }[] };
    expect(handOut('key', plain)).toBe(first);
    expect(Object.isFrozen(first) && Object.isFrozen(first.list[0])).toBe(true);
    const dated = isolate('key', { at: new Date(5) });
    const own = handOut('key', dated) as { at: Date };
    own.at.setTime(6);
    expect(handOut('key', dated)).toEqual({ at: new Date(5) });
  });
});
