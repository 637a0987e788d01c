import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { newTransactionIds } from '../../../src/core/ids.js';
import {
  decodeHead,
  encodeHead,
  HEAD_BYTES_MAX,
  type HeadState,
  type KeptRecord,
  referenceTo,
} from '../../../src/drivers/zookeeper/log-format.js';
import {
  countThatFits,
  covers,
  openCountOf,
  recordsToMove,
  withAcknowledgements,
  withoutExpired,
} from '../../../src/drivers/zookeeper/log-head.js';

const ids = newTransactionIds({ namespace: 'n', authority: 'zk', incarnation: 'incarnation' });

function kept(changes: Partial<KeptRecord> = {}, evidence = ''): KeptRecord {
  const transactionId = ids('r', 'n');
  const branches = ['a', 'b'].map((participant, index) => {
    return { participant, branchId: `${transactionId}.${index}`, evidence };
  });
  const record = { transactionId, resourceId: 'r', nodeId: 'n', branches };
  return { record, decidedAtMs: 0, unacknowledged: ['a', 'b'], ...changes };
}
const headOf = (records: readonly KeptRecord[]): HeadState => {
  return { nodeId: 'n', writeId: 'w', records, segments: [] };
};

describe('the head of an incarnation', () => {
  test('is read back as it was written', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(), (evidence, decidedAtMs) => {
        const head = headOf([kept({ decidedAtMs }, evidence), kept({ unacknowledged: [] })]);
        const written = encodeHead({ ...head, fencedAtMs: decidedAtMs });
        const read = decodeHead(written, '/h');
        assert.deepEqual(JSON.parse(JSON.stringify(read)), {
          ...JSON.parse(JSON.stringify(head)),
          fencedAtMs: decidedAtMs,
        });
      }),
    );
  });

  test('of a newer format is refused, and what is no head is called corrupt', () => {
    assert.throws(() => decodeHead(Buffer.from('{"v":3}'), '/h'), { code: 'UPGRADE_NEEDED' });
    for (const text of ['', '[]', '{"v":1}', 'null']) {
      assert.throws(() => decodeHead(Buffer.from(text), '/h'), { code: 'DATA_CORRUPT' });
    }
  });

  test('an acknowledgement is noted once, and the last one with its time', () => {
    const record = kept();
    const acks = (name: string) => new Map([[record.record.transactionId, new Set([name])]]);
    const [half] = withAcknowledgements([record], acks('a'), 5);
    assert.deepEqual(half?.unacknowledged, ['b']);
    const [whole] = withAcknowledgements([half as KeptRecord], acks('b'), 7);
    assert.equal(whole?.acknowledgedAtMs, 7);
    const all = [whole as KeptRecord];
    assert.equal(withAcknowledgements(all, acks('b'), 9), all);
  });

  test('forgets what was acknowledged a retention ago, and nothing else', () => {
    const done = kept({ unacknowledged: [], acknowledgedAtMs: 0 });
    const fresh = kept({ unacknowledged: [], acknowledgedAtMs: 50 });
    const open = kept();
    const { head } = withoutExpired(headOf([done, fresh, open]), 100, 100);
    assert.deepEqual(head.records, [fresh, open]);
  });

  test('acknowledged records leave a head first, then the older half of the others', () => {
    const large = 'e'.repeat(HEAD_BYTES_MAX / 8);
    const done = [kept({ unacknowledged: [] }, large), kept({ unacknowledged: [] }, large)];
    const open = [kept({}, large), kept({}, large)];
    assert.deepEqual(recordsToMove([...done, ...open], 0), done);
    assert.deepEqual(recordsToMove(open, 0), []);
    assert.deepEqual(recordsToMove(open, HEAD_BYTES_MAX), open.slice(0, 1));
  });

  test('takes as many decisions as fit, and one that is too large alone', () => {
    const third = 'e'.repeat(HEAD_BYTES_MAX / 6);
    const incoming = Array.from({ length: 5 }, () => kept({}, third));
    assert.equal(countThatFits([], incoming), 2);
    assert.equal(countThatFits([], [kept({}, 'e'.repeat(2 * HEAD_BYTES_MAX))]), 1);
    assert.equal(countThatFits(incoming, []), 0);
  });

  test('finds an overflow znode by the ids inside, and counts what is open there', () => {
    const [before, first, middle, last] = [kept(), kept(), kept(), kept({ unacknowledged: [] })];
    const segment = referenceTo('s-1', [last, first]);
    assert.equal(covers(segment, middle.record.transactionId), true);
    assert.equal(covers(segment, before.record.transactionId), false);
    assert.equal(openCountOf({ ...headOf([before]), segments: [segment] }), 2);
  });
});
