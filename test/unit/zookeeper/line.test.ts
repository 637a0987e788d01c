import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { decodePlace, encodePlace } from '../../../src/drivers/zookeeper/lock-data.js';
import { firstTokenOf, TOKENS_PER_ZXID } from '../../../src/drivers/zookeeper/lock-fence.js';
import {
  holderCount,
  lineOf,
  placePrefix,
  standingOf,
} from '../../../src/drivers/zookeeper/lock-line.js';
import { encodeName } from '../../../src/drivers/zookeeper/names.js';

const nameOf = (grantId: string, kind: string, sequence: number): string =>
  `${grantId}-${kind}-${String(sequence).padStart(10, '0')}`;
const line = (...names: string[]) => lineOf(names, '/locks/a');

describe('the line of a lock in znode names', () => {
  test('a name is read back as what was asked for', () => {
    const prefix = placePrefix({ grantId: 'AbC_-x12345.1z', mode: 'counting', permits: 3 });
    const [place] = line(`${prefix}0000000007`);
    assert.deepEqual(place, {
      name: 'AbC_-x12345.1z-c3-0000000007',
      grantId: 'AbC_-x12345.1z',
      mode: 'counting',
      permits: 3,
      sequence: 7,
    });
  });

  test('a name of another form was written by a newer release and is refused', () => {
    for (const name of ['g-x1-7', 'g-q1-0000000001', 'lock-0000000001', 'g-x1-0000000001-v2']) {
      assert.throws(() => line(name), { code: 'UPGRADE_NEEDED' });
    }
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
    assert.deepEqual(standingOf(all, 'a', 1), { state: 'holds', waiters: 2 });
    const waits = standingOf(all, 'c', 1);
    assert.equal(waits.state, 'waits');
    assert.deepEqual(waits.state === 'waits' && waits.behind.map(({ grantId }) => grantId), ['b']);
    assert.deepEqual(standingOf(all, 'missing', 1), { state: 'gone' });
  });

  test('readers hold together, and wait for the writer in front of them', () => {
    const shared = Number.POSITIVE_INFINITY;
    const all = line(
      ...[
        nameOf('r1', 's1', 1),
        nameOf('r2', 's1', 2),
        nameOf('w', 'x1', 3),
        nameOf('r3', 's1', 4),
      ],
    );
    assert.deepEqual(standingOf(all, 'r2', shared), { state: 'holds', waiters: 2 });
    const waits = standingOf(all, 'r3', shared);
    assert.deepEqual(waits.state === 'waits' && waits.behind.map(({ grantId }) => grantId), ['w']);
    assert.equal(holderCount(all, shared), 2);
  });

  test('permits add up to the capacity and not beyond', () => {
    const all = line(nameOf('a', 'c2', 1), nameOf('b', 'c1', 2), nameOf('c', 'c1', 3));
    assert.equal(standingOf(all, 'b', 3).state, 'holds');
    assert.equal(standingOf(all, 'c', 3).state, 'waits');
  });
});

describe('names, tokens and data of places', () => {
  test('different resources have different names, of characters that the server takes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (one, other) => {
        assert.match(encodeName(`${one}x`), /^[\w%-]+$/);
        assert.equal(encodeName(one) === encodeName(other), one === other);
      }),
    );
    assert.equal(encodeName('..'), '%2E%2E');
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

  test('data comes back as it was written, also without an end to the capacity', () => {
    const data = { owner: 'a@b', capacity: Number.POSITIVE_INFINITY, fencingToken: 2n ** 60n };
    assert.deepEqual(decodePlace(encodePlace(data), '/a'), { ...data, heldSinceMs: undefined });
  });

  test('data of a newer format is refused, and what is no data is called corrupt', () => {
    const newer = Buffer.from('{"v":2,"holder":"a@b"}');
    assert.throws(() => decodePlace(newer, '/a'), { code: 'UPGRADE_NEEDED' });
    for (const text of ['', '{', 'null', '{"v":1}']) {
      assert.throws(() => decodePlace(Buffer.from(text), '/a'), { code: 'DATA_CORRUPT' });
    }
  });
});
