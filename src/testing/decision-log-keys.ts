import assert from 'node:assert/strict';
import type { DecisionLogCase } from './decision-log-decisions.js';
import { recordOf } from './decision-log-stage.js';

const KEY = 'payment:77 {🗝}\n"quoted"/\u0000';

/** How the keys of transactions are held, and by whom. */
export const keyCases: readonly DecisionLogCase[] = [
  {
    name: 'a key that nobody holds is reserved, for everybody to see',
    async play(stage) {
      const [one, other] = [await stage.node(), await stage.node()];
      const { transactionId } = (await one.incarnation()).record();
      assert.equal(await other.session.findKey(KEY), undefined);
      const reserved = { transactionId, isCommitted: false };
      const request = { key: KEY, transactionId };
      assert.deepEqual(await one.session.reserveKey(request), reserved);
      assert.deepEqual(await one.session.reserveKey(request), reserved);
      assert.deepEqual(await other.session.findKey(KEY), reserved);
      assert.equal(await other.session.findKey('another'), undefined);
    },
  },
  {
    name: 'of many who reserve a key at once, one gets it and all hear which',
    async play(stage) {
      const nodes = await Promise.all([stage.node(), stage.node(), stage.node()]);
      const asked = nodes.map(async ({ session, incarnation }) => {
        const { transactionId } = (await incarnation()).record();
        return session.reserveKey({ key: KEY, transactionId });
      });
      const answers = await Promise.all(asked);
      assert.equal(new Set(answers.map(({ transactionId }) => transactionId)).size, 1);
    },
  },
  {
    name: 'a reservation goes to another only from the holder that it names',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { record } = await incarnation();
      const [first, second, third] = [record(), record(), record()].map(
        (each) => each.transactionId,
      );
      assert.ok(first && second && third);
      await session.reserveKey({ key: KEY, transactionId: first });
      const held = { transactionId: first, isCommitted: false };
      assert.deepEqual(await session.reserveKey({ key: KEY, transactionId: second }), held);
      const wrong = { key: KEY, transactionId: second, replaces: third };
      assert.deepEqual(await session.reserveKey(wrong), held);
      const right = { key: KEY, transactionId: second, replaces: first };
      const taken = { transactionId: second, isCommitted: false };
      assert.deepEqual(await session.reserveKey(right), taken);
      assert.deepEqual(await session.reserveKey(right), taken);
      assert.deepEqual(await session.findKey(KEY), taken);
    },
  },
  {
    name: 'a confirmed key is neither taken over nor given up',
    async play(stage) {
      const [owner, other] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      const [first, second] = [record({ key: KEY }), record()];
      const { transactionId } = first;
      await owner.session.reserveKey({ key: KEY, transactionId });
      assert.equal(await owner.session.decide(name, first), 'committed');
      assert.deepEqual(recordOf(await other.session.find(transactionId)), recordOf(first));
      assert.equal((await other.session.find(transactionId))?.key, KEY);
      // Of somebody else, it changes nothing.
      await other.session.confirmKey(KEY, second.transactionId);
      assert.equal((await owner.session.findKey(KEY))?.isCommitted, false);
      await other.session.confirmKey(KEY, transactionId);
      await other.session.confirmKey(KEY, transactionId);
      const confirmed = { transactionId, isCommitted: true };
      const request = { key: KEY, transactionId: second.transactionId, replaces: transactionId };
      assert.deepEqual(await other.session.reserveKey(request), confirmed);
      await owner.session.releaseKey(KEY, transactionId);
      assert.deepEqual(await owner.session.findKey(KEY), confirmed);
    },
  },
  {
    name: 'a key that is given up is free, unless somebody else holds it',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { record } = await incarnation();
      const [first, second] = [record().transactionId, record().transactionId];
      await session.reserveKey({ key: KEY, transactionId: first });
      await session.releaseKey(KEY, second);
      assert.equal((await session.findKey(KEY))?.transactionId, first);
      await session.releaseKey(KEY, first);
      await session.releaseKey(KEY, first);
      assert.equal(await session.findKey(KEY), undefined);
      const taken = await session.reserveKey({ key: KEY, transactionId: second });
      assert.equal(taken.transactionId, second);
    },
  },
  {
    name: 'a namespace does not see the keys of another',
    async play(stage) {
      const [owner, foreign] = [await stage.node(), await stage.node('elsewhere')];
      const { transactionId } = (await owner.incarnation()).record();
      const key = `${KEY}${transactionId}`;
      await owner.session.reserveKey({ key, transactionId });
      assert.equal(await foreign.session.findKey(key), undefined);
    },
  },
];
