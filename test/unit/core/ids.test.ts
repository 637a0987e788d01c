/**
 * Goal: two different pairs never share an id, whatever characters they hold, and the inverse gives
 * the pair back. Method: generated names that are biased to what separates, escapes and normalises.
 */

import fc from 'fast-check';
import {
  lockId,
  newTransactionId,
  parseLockId,
  parseTransactionId,
  seededRandom,
  transactionId,
} from 'tricord';
import { virtualClock } from 'tricord/testing';
import { describe, expect, test } from 'vitest';
import { defaultNodeId, newIncarnation, newTransactionIds } from '../../../src/core/ids.js';

const HOSTILE = ['@', '%', '%40', '%25', '/', ':', '.', '..', '{', '}', ' ', '\n', '\0', '+', '~'];
const UNICODE = ['é', 'e\u0301', 'Å', 'Å', 'ß', '😀', '\u{10FFFF}', '\uFFFD', '\u202E', '漢', 'K'];
const piece = fc.oneof(
  fc.constantFrom(...HOSTILE, ...UNICODE),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 3 }),
);
const name = fc.array(piece, { minLength: 1, maxLength: 12 }).map((pieces) => pieces.join(''));

describe('lockId', () => {
  test('is undone by parseLockId, for any pair of names', () => {
    fc.assert(
      fc.property(name, name, (resourceId, nodeId) => {
        expect(parseLockId(lockId(resourceId, nodeId))).toEqual({ resourceId, nodeId });
      }),
      { numRuns: 2_000 },
    );
  });

  test('is injective: only equal pairs have equal ids', () => {
    fc.assert(
      fc.property(name, name, name, name, (resource, node, otherResource, otherNode) => {
        const isSamePair = resource === otherResource && node === otherNode;
        expect(lockId(resource, node) === lockId(otherResource, otherNode)).toBe(isSamePair);
      }),
      { numRuns: 2_000 },
    );
    // Pairs that only a careless separator would confuse.
    expect(lockId('a@b', 'c')).not.toBe(lockId('a', 'b@c'));
    expect(lockId('a%40b', 'c')).not.toBe(lockId('a@b', 'c'));
    expect(lockId('é', 'n')).not.toBe(lockId('e\u0301', 'n'));
  });

  test('is printable ASCII without separators of shells, paths and slots', () => {
    fc.assert(
      fc.property(name, name, (resourceId, nodeId) => {
        expect(lockId(resourceId, nodeId)).toMatch(/^[\w.:%-]+@[\w.:%-]+$/);
      }),
    );
    expect(lockId('sku:42', 'orders-7')).toBe('sku:42@orders-7');
    expect(lockId('a/b c', 'é')).toBe('a%2Fb%20c@%C3%A9');
  });

  test('refuses names that are empty, too long or ill-formed', () => {
    for (const bad of ['', '\uD800', 'a\uDFFF', 'x'.repeat(1_025), 42, null, undefined]) {
      expect(() => lockId(bad as string, 'n')).toThrow(TypeError);
      expect(() => lockId('r', bad as string)).toThrow(TypeError);
    }
    expect(() => lockId('r', 'n'.repeat(257))).toThrow('at most 256 UTF-8 bytes');
    expect(lockId('r'.repeat(1_024), 'n'.repeat(256))).toHaveLength(1_281);
  });
});

describe('parseLockId', () => {
  test('refuses every text that lockId cannot have made', () => {
    const foreign = ['', '@', 'a', 'a@', '@b', 'a@b@c', 'a b@c', '%61@b', '%2f@b', '%@b', '%F0@b'];
    for (const text of [...foreign, 'é@b', `${'r'.repeat(1_025)}@n`, `r@${'n'.repeat(257)}`]) {
      expect(() => parseLockId(text), text.slice(0, 20)).toThrow('an id made by lockId()');
    }
    expect(() => parseLockId(7 as unknown as string)).toThrow(TypeError);
  });

  test('accepts only one spelling of a pair', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (left, right) => {
        const text = `${left}@${right}`;
        let pair: { resourceId: string; nodeId: string } | undefined;
        try {
          pair = parseLockId(text);
        } catch {
          return;
        }
        expect(lockId(pair.resourceId, pair.nodeId)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('transactionId', () => {
  const token = (min: number, max: number) =>
    fc.stringMatching(new RegExp(`^[A-Za-z0-9_-]{${min},${max}}$`));
  const origin = fc.record({
    namespace: token(1, 10),
    authority: token(1, 8),
    incarnation: token(11, 11),
    unique: token(1, 12),
  });

  test('tells its origin back, in at most 60 safe bytes, for any names', () => {
    fc.assert(
      fc.property(name, name, origin, (resourceId, nodeId, parts) => {
        const id = transactionId(resourceId, nodeId, parts);
        expect(id).toMatch(/^[\w.-]{1,60}$/);
        expect(parseTransactionId(id)).toMatchObject(parts);
        expect(transactionId(resourceId, nodeId, parts)).toBe(id);
      }),
    );
  });

  test('differs when the pair, or any part of the origin, differs', () => {
    fc.assert(
      fc.property(
        fc.tuple(name, name, origin),
        fc.tuple(name, name, origin),
        ([resource, node, parts], [otherResource, otherNode, otherParts]) => {
          const same = JSON.stringify([resource, node, Object.entries(parts).sort()]);
          const other = JSON.stringify([
            otherResource,
            otherNode,
            Object.entries(otherParts).sort(),
          ]);
          const ids = [
            transactionId(resource, node, parts),
            transactionId(otherResource, otherNode, otherParts),
          ];
          expect(ids[0] === ids[1]).toBe(same === other);
        },
      ),
    );
    const unique = { namespace: 'n', authority: 'a', incarnation: '-'.repeat(11), unique: 'u' };
    expect(transactionId('a@b', 'c', unique)).not.toBe(transactionId('a', 'b@c', unique));
  });

  test('refuses ill-formed parts, and names the part', () => {
    const good = { namespace: 'n', authority: 'a', incarnation: 'i'.repeat(11), unique: 'u' };
    const bad: [string, unknown][] = [
      ['namespace', ''],
      ['namespace', 'n'.repeat(11)],
      ['authority', 'has.dot'],
      ['incarnation', 'short'],
      ['unique', 'u'.repeat(13)],
      ['unique', 'é'],
      ['unique', 'u\n'],
      ['unique', undefined],
    ];
    for (const [part, value] of bad) {
      const given = { ...good, [part]: value } as typeof good;
      expect(() => transactionId('r', 'n', given)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT', argument: part }),
      );
    }
    expect(() => transactionId('r', 'n', null as never)).toThrow(TypeError);
    expect(() => transactionId('', 'n', good)).toThrow(TypeError);
  });

  test('of other texts nothing is read', () => {
    for (const text of [
      '',
      'tc1',
      'tc2.a.b.-----------.u.-----------',
      'tc1.a.b.c.d.e',
      'x\ntc1',
    ]) {
      expect(parseTransactionId(text)).toBeUndefined();
    }
  });

  test('new ones are unique and need no coordinator', () => {
    const ids = Array.from({ length: 1_000 }, () => newTransactionId('order:1', 'node'));
    expect(new Set(ids).size).toBe(1_000);
    expect(parseTransactionId(ids[0] ?? '')).toMatchObject({ authority: 'none' });
  });

  test('those of one source sort as text in the order of their making, also when the clock goes back', () => {
    const clock = virtualClock();
    const next = newTransactionIds(
      { namespace: 'n', authority: 'a', incarnation: newIncarnation(seededRandom(1)) },
      clock,
    );
    const ids: string[] = [];
    for (const jumpMs of [0, 0, 0, 1, 0, -5_000, 0, 3, 10_000, 0]) {
      clock.moveWall(jumpMs);
      ids.push(parseTransactionId(next('r', 'n'))?.unique ?? '');
    }
    expect(ids).toEqual(Array.from(new Set(ids)).sort());
    expect(ids).toHaveLength(10);
  });
});

test('a default node id is a good node id, and another one each time', () => {
  const ids = [defaultNodeId(), defaultNodeId()];
  expect(ids[0]).not.toBe(ids[1]);
  expect(parseLockId(lockId('r', ids[0] ?? '')).nodeId).toBe(ids[0]);
});
