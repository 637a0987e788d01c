import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import {
  decodeEpoch,
  decodeNotice,
  decodePlace,
  encodeEpoch,
  encodeNotice,
  encodePlace,
} from '../../../src/drivers/zookeeper/lock-data.js';
import { firstTokenOf, TOKENS_PER_ZXID } from '../../../src/drivers/zookeeper/lock-fence.js';
import {
  guardName,
  holderCount,
  lineOf,
  otherCapacity,
  placePrefix,
  type Standing,
  standingOf,
  withDowngraded,
} from '../../../src/drivers/zookeeper/lock-line.js';
import { decodeName, encodeName } from '../../../src/drivers/zookeeper/names.js';

const nameOf = (grantId: string, kind: string, sequence: number): string =>
  `${grantId}-${kind}-${String(sequence).padStart(10, '0')}`;
const line = (...names: string[]) => lineOf(names, '/locks/a').places;
const behind = (standing: Standing): string[] =>
  standing.state === 'waits' ? standing.behind.map(({ grantId }) => grantId) : [];

describe('the line of a lock in znode names', () => {
  test('a name is read back as what was asked for', () => {
    const asked = { grantId: 'AbC_-x12345.1z', mode: 'counting', permits: 3, capacity: 8 } as const;
    const [place] = line(`${placePrefix(asked)}0000000007`);
    assert.deepEqual(place, { ...asked, name: 'AbC_-x12345.1z-c3of8-0000000007', sequence: 7 });
  });

  test('a name of another form was written by a newer release and is refused', () => {
    for (const name of ['g-x1-7', 'g-q1-0000000001', 'lock-0000000001', 'g-x1-0000000001-v2']) {
      assert.throws(() => line(name), { code: 'UPGRADE_NEEDED' });
    }
  });

  test('guards and notices stand beside the line, not in it', () => {
    const { places, guards } = lineOf(['a-d250', 'b-f', nameOf('a', 'x1', 1)], '/locks/a');
    assert.deepEqual(guards, [{ name: 'a-d250', grantId: 'a', delayMs: 250 }]);
    assert.equal(places.length, 1);
    assert.equal(guardName('a', 249.5), 'a-d250');
  });

  test('the order goes on where the server’s 32-bit sequence wraps', () => {
    const last = nameOf('first', 'x1', 2_147_483_647);
    const wrapped = 'second-x1--2147483648';
    assert.deepEqual(
      line(wrapped, last).map(({ grantId }) => grantId),
      ['first', 'second'],
    );
  });

  test('a writer holds when nobody is in front, and watches its predecessor alone', () => {
    const all = line(nameOf('c', 'x1', 9), nameOf('a', 'x1', 1), nameOf('b', 'x1', 5));
    assert.deepEqual(standingOf(all, 'a'), { state: 'holds', waiters: 2 });
    assert.deepEqual(behind(standingOf(all, 'c')), ['b']);
    assert.deepEqual(standingOf(all, 'missing'), { state: 'gone' });
  });

  test('readers hold together, and wait for the writer in front of them', () => {
    const all = line(
      ...[nameOf('r1', 's1', 1), nameOf('r2', 's1', 2)],
      ...[nameOf('w', 'x1', 3), nameOf('r3', 's1', 4)],
    );
    assert.deepEqual(standingOf(all, 'r2'), { state: 'holds', waiters: 2 });
    assert.deepEqual(behind(standingOf(all, 'r3')), ['w']);
    assert.equal(holderCount(all), 2);
  });

  test('readers hold beside a writer that became one of them, a writer behind it does not', () => {
    const places = line(nameOf('w', 'x1', 1), nameOf('r', 's1', 2), nameOf('v', 'x1', 3));
    const all = withDowngraded(places, new Set(['w']));
    assert.deepEqual(standingOf(all, 'r'), { state: 'holds', waiters: 1 });
    assert.deepEqual(behind(standingOf(all, 'v')), ['r']);
    assert.equal(standingOf(places, 'r').state, 'waits');
  });

  test('permits add up to the capacity and not beyond', () => {
    const all = line(
      ...[nameOf('a', 'c2of4', 1), nameOf('b', 'c1of4', 2)],
      ...[nameOf('c', 'c2of4', 3), nameOf('d', 'c1of4', 4)],
    );
    assert.equal(standingOf(all, 'b').state, 'holds');
    const next = standingOf(all, 'c');
    assert.deepEqual(behind(next), ['a', 'b'], 'the next in line watches all who hold');
    const later = standingOf(all, 'd');
    assert.deepEqual(behind(later), ['c'], 'whoever is behind it watches it, though it would fit');
    assert.equal(later.state === 'waits' && later.until, 'holds');
  });

  test('whoever stands at the head says how the resource is shared', () => {
    const counted = line(nameOf('a', 'c1of4', 1));
    const asked = { grantId: 'b', permits: 1 } as const;
    assert.equal(otherCapacity(counted, { ...asked, mode: 'counting', capacity: 4 }), undefined);
    assert.equal(otherCapacity(counted, { ...asked, mode: 'counting', capacity: 5 }), 4);
    assert.equal(otherCapacity(counted, { ...asked, mode: 'exclusive', capacity: 1 }), 4);
    const whole = line(nameOf('a', 's1', 1));
    assert.equal(otherCapacity(whole, { ...asked, mode: 'exclusive', capacity: 1 }), undefined);
    assert.equal(otherCapacity(whole, { ...asked, mode: 'counting', capacity: 4 }), 1);
  });
});

describe('names, tokens and data of places', () => {
  test('different resources have different names, of characters that the server takes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (one, other) => {
        assert.match(encodeName(`${one}x`), /^[\w%-]+$/);
        assert.equal(encodeName(one) === encodeName(other), one === other);
        assert.equal(decodeName(encodeName(one)), one);
      }),
    );
    assert.equal(encodeName('..'), '%2E%2E');
    assert.equal(decodeName('100%'), undefined, 'a name of somebody else');
  });

  test('blocks of tokens of different zxids do not touch', () => {
    const zxid = 0x1_0000_0001;
    const lastOfBlock = firstTokenOf(zxid) + BigInt(TOKENS_PER_ZXID - 1);
    assert.ok(firstTokenOf(zxid + 1) > lastOfBlock);
  });

  test('a zxid that a double cannot hold exactly gives no token', () => {
    assert.throws(() => firstTokenOf(2 ** 53), { code: 'BACKEND_UNSUPPORTED' });
    assert.equal(firstTokenOf(2 ** 53 - 1), (2n ** 53n - 1n) * 1_024n);
  });

  test('data comes back as it was written', () => {
    const data = { owner: 'a@b', fencingToken: 2n ** 60n, heldForMs: 50, isDowngraded: true };
    assert.deepEqual(decodePlace(encodePlace(data), '/a'), data);
    assert.equal(decodeEpoch(encodeEpoch(2n ** 70n), '/a'), 2n ** 70n);
    assert.equal(decodeEpoch(Buffer.alloc(0), '/a'), undefined);
    assert.equal(decodeNotice(encodeNotice('moved “it”'), '/a'), 'moved “it”');
  });

  test('data of a newer format is refused, and what is no data is called corrupt', () => {
    const newer = Buffer.from('{"v":2,"holder":"a@b"}');
    for (const read of [decodePlace, decodeEpoch, decodeNotice]) {
      assert.throws(() => read(newer, '/a'), { code: 'UPGRADE_NEEDED' });
      assert.throws(() => read(Buffer.from('{"v":1}'), '/a'), { code: 'DATA_CORRUPT' });
    }
    for (const text of ['', '{', 'null', '{"v":1}']) {
      assert.throws(() => decodePlace(Buffer.from(text), '/a'), { code: 'DATA_CORRUPT' });
    }
  });
});
