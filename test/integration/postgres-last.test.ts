// A branch's last statement in one message with PREPARE TRANSACTION, on a real server.

import assert from 'node:assert/strict';
import pg from 'pg';
import { createTransactionCoordinator } from 'tricord';
import { memoryTransactions } from 'tricord/memory';
import { type PostgresLiteral, postgresParticipant } from 'tricord/postgres';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { onServer, sharedDatabase } from '../servers/shared.js';
import { postgresStage } from './postgres-stage.js';

onServer('postgresql', 'the last statement of a branch', async () => {
  const url = await sharedDatabase('last');
  const stage = postgresStage(url, { max: 1 });
  const { begin, sql, prepared } = stage;
  const sent: string[] = [];
  stage.pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...parameters: unknown[]) => unknown;
    const recorded = (...parameters: unknown[]): unknown => {
      sent.push(String(parameters[0]));
      return query(...parameters);
    };
    Object.assign(client, { query: recorded });
  });
  beforeAll(() =>
    sql('create table item (id int primary key, n int check (n >= 0), t text, b bool)'),
  );
  beforeEach(() => sql('delete from item'));
  afterEach(() => stage.sweep());
  afterAll(() => stage.close());
  const rows = async () => (await sql('select id, n, t, b from item order by id')).rows;
  /** Nothing of a message is left in the session, and the client is back in the pool. */
  const sessionIsClean = async () => {
    const { rows: left } = await stage.pool.query(
      "select name from pg_prepared_statements where name like 'tricord%'",
    );
    assert.deepEqual(left, []);
  };

  test('goes with PREPARE TRANSACTION in one message, so that a branch costs two messages', async () => {
    await (await begin()).branch.abort();
    sent.length = 0;
    const { branch, db } = await begin();
    db.last('insert into item values (1, 2, null, true)');
    assert.equal(sent.length, 0, 'nothing is sent before the vote');
    expect(await branch.prepare()).toMatchObject({
      vote: 'yes',
      evidence: expect.stringMatching(/^xid8:\d+$/),
    });
    await branch.commit();
    assert.equal(sent.length, 2, 'BEGIN goes with it too');
    assert.match(sent[0] ?? '', /^begin; [\s\S]*insert into item[\s\S]*prepare transaction '/);
    assert.deepEqual(await rows(), [{ id: 1, n: 2, t: null, b: true }]);
  });

  test.each<[string, PostgresLiteral]>([
    ['quotes', `it's "quoted" $1 $$; drop table item; --`],
    ['backslashes', String.raw`C:\new\table\'; select 1`],
    ['emoji and newlines', 'naïve 🧵\n\t'],
    ['nothing', null],
    ['an empty text', ''],
  ])('takes values as parameters would be taken: %s', async (_, value) => {
    const { branch, db } = await begin();
    db.last('insert into item (id, n, t, b) values ($1, $2, $3, $4);  ', [7, 3n, value, false]);
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    await branch.commit();
    assert.deepEqual(await rows(), [{ id: 7, n: 3, t: value, b: false }]);
    await sessionIsClean();
  });

  test('a comment at its end swallows nothing', async () => {
    for (const values of [[], [1]]) {
      const { branch, db } = await begin();
      db.last(
        `update item set n = n ${values.length > 0 ? 'where id = $1' : ''} -- that is all`,
        values,
      );
      expect(await branch.prepare()).toEqual({ vote: 'read-only' });
    }
    await sessionIsClean();
  });

  test.each([
    ['a constraint', 'insert into item (id, n) values ($1, $2)', [1, -1], '23514'],
    ['a type', 'insert into item (id) values ($1)', ['no number'], '22P02'],
    ['a mistake', 'insert into nothing values ($1)', [1], '42P01'],
  ])(
    '%s that fails makes the vote no, and leaves nothing in the session',
    async (_, text, values, state) => {
      const { branch, db } = await begin();
      db.last(text, values);
      expect(await branch.prepare()).toMatchObject({
        vote: 'no',
        reason: expect.stringContaining(state),
      });
      assert.deepEqual(await prepared(), []);
      await sessionIsClean();
      assert.equal(stage.pool.idleCount, 1);
    },
  );

  test('other rows than demanded make the vote no, and nothing stays prepared', async () => {
    await sql('insert into item (id, n) values (1, 0)');
    const { branch, db } = await begin();
    await db.query('insert into item (id) values (2)');
    db.last('update item set n = n - 1 where id = $1 and n >= 1', [1], { rows: 1 });
    expect(await branch.prepare()).toMatchObject({
      vote: 'no',
      reason: 'the last statement met 0 rows, not 1',
    });
    assert.deepEqual(await prepared(), []);
    assert.equal((await rows()).length, 1);
  });

  test('as many rows as demanded make the vote yes', async () => {
    await sql('insert into item (id, n) values (1, 1)');
    const { branch, db } = await begin();
    db.last('update item set n = n - 1 where id = $1 and n >= 1', [1], { rows: 1 });
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    await branch.commit();
    assert.equal((await rows())[0].n, 0);
  });

  test('a branch alone sends it before its one-phase commit, and keeps to the same rules', async () => {
    const good = await begin();
    good.db.last('insert into item (id, n) values ($1, 1)', [5], { rows: 1 });
    assert.deepEqual(await good.branch.commitOnePhase?.(), { state: 'committed' });
    const bad = await begin();
    bad.db.last('update item set n = 0 where id = 99', [], { rows: 1 });
    expect(await bad.branch.commitOnePhase?.()).toMatchObject({ state: 'aborted' });
    const failing = await begin();
    failing.db.last('insert into item (id, n) values (5, 1)');
    expect(await failing.branch.commitOnePhase?.()).toMatchObject({ state: 'aborted' });
    assert.deepEqual(
      (await rows()).map(({ id }) => id),
      [5],
    );
  });

  test('is refused when it would end the branch, comes twice, or is followed by another statement', async () => {
    const { branch, db } = await begin();
    assert.throws(() => db.last('commit'), { code: 'BRANCH_TAMPERED' });
    await branch.abort();
    const other = await begin();
    assert.throws(() => other.db.last('select $1', [{} as never]), { code: 'INVALID_ARGUMENT' });
    assert.throws(() => other.db.last('select $1', ['a\0b']), { code: 'INVALID_ARGUMENT' });
    other.db.last('select 1');
    assert.throws(() => other.db.last('select 2'), { code: 'INVALID_ARGUMENT' });
    await expect(other.db.query('select 3')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await other.branch.abort();
    assert.throws(() => other.db.last('select 1'), { code: 'BRANCH_ENDED' });
  });

  test.each([
    ['insert into item (id) values (1); commit', []],
    ['insert into item (id) values ($1); commit; begin', [1]],
  ])(
    '%j would end the branch from inside: BRANCH_TAMPERED, and the vote is no',
    async (text, values) => {
      const { branch, db } = await begin();
      db.last(text, values);
      const vote = await branch.prepare();
      expect(vote).toMatchObject({ vote: 'no', cause: { code: 'BRANCH_TAMPERED' } });
      assert.deepEqual(await prepared(), []);
      await sessionIsClean();
    },
  );
});

onServer('postgresql', 'a pool that is too small for a transaction', async () => {
  const url = await sharedDatabase('seats');

  test('refuses the branch that would wait for its own transaction, and takes others as soon as it ends', async () => {
    const pool = new pg.Pool({ connectionString: url, max: 2 });
    const participants = ['a', 'b', 'c'].map((name) => postgresParticipant({ name, pool }));
    const coordinator = createTransactionCoordinator({ log: memoryTransactions(), participants });
    const [a, b, c] = participants;
    assert.ok(a && b && c);
    // What a participant promises is read before its first branch, on a connection of its own.
    const two = await coordinator.run({ resourceId: 'order:1' }, async (tx) => {
      await tx.enlist(b);
    });
    assert.equal(two.state, 'committed');
    await coordinator.run({ resourceId: 'order:2' }, (tx) => tx.enlist(c));
    const startedAt = performance.now();
    const three = { resourceId: 'order:3', timeoutMs: 10_000 };
    const outcome = await coordinator.run(three, async (tx) => {
      await tx.enlist(a);
      await tx.enlist(b);
      await tx.enlist(c);
    });
    assert.ok(performance.now() - startedAt < 5_000);
    expect(outcome).toMatchObject({
      state: 'aborted',
      cause: { code: 'PARTICIPANT_FULL', details: { participant: 'c', slotsMax: 2 } },
    });
    const next = await coordinator.run({ ...three, resourceId: 'order:4' }, async (tx) => {
      await tx.enlist(b);
      await tx.enlist(c);
    });
    assert.equal(next.state, 'committed');
    await coordinator.close();
    await pool.end();
  });
});
