// The traps of PREPARE TRANSACTION, each against a real server: what a driver that trusts the
// obvious gets wrong, and what postgresParticipant does instead.

import assert from 'node:assert/strict';
import pg from 'pg';
import { isCoordinationError } from 'tricord';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { onServer, sharedDatabase } from '../servers/shared.js';
import { eventually, postgresStage } from './postgres-stage.js';

const code = (expected: string) => expect.objectContaining({ code: expected });
const refuses = (expected: string, work: Promise<unknown> | (() => Promise<unknown>)) =>
  expect(work).rejects.toMatchObject({ code: expected });

onServer('postgresql', 'the traps of PREPARE TRANSACTION', async () => {
  const url = await sharedDatabase('traps');
  const stage = postgresStage(url);
  const { begin, sql, prepared, participant } = stage;
  beforeAll(async () => {
    await sql('create table item (id int primary key, parent int)');
    await sql(
      'alter table item add constraint item_parent foreign key (parent) references item (id) ' +
        'deferrable initially deferred',
    );
  });
  afterEach(() => stage.sweep());
  afterAll(() => stage.close());
  let lastId = 0;
  const nextId = () => {
    lastId += 1;
    return lastId;
  };
  const count = async (id: number) =>
    (await sql('select 1 from item where id = $1', [id])).rowCount;

  describe('the vote', () => {
    test('a statement that failed makes the vote no, although PREPARE answers without an error', async () => {
      const { branch, db } = await begin();
      await db.query('insert into item values ($1)', [nextId()]);
      await expect(db.query('select 1 / 0')).rejects.toThrow('division by zero');
      const vote = await branch.prepare();
      assert.equal(vote.vote, 'no');
      expect(vote).toMatchObject({ reason: 'division by zero (SQLSTATE 22012)' });
      assert.deepEqual(await prepared(), []);
    });

    test('in one phase: a statement that failed is an abort, although COMMIT answers without an error', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      await db.query('insert into item values ($1)', [id]);
      await expect(db.query('select 1 / 0')).rejects.toThrow('division by zero');
      expect(await branch.commitOnePhase?.()).toMatchObject({
        state: 'aborted',
        reason: 'division by zero (SQLSTATE 22012)',
      });
      assert.equal(await count(id), 0);
    });

    test('a failed statement of a text of several, behind a write, makes the vote no', async () => {
      const { branch, db } = await begin();
      await expect(
        db.query(`insert into item values (${nextId()}); select 1 / 0`),
      ).rejects.toThrow();
      expect(await branch.prepare()).toMatchObject({ vote: 'no' });
    });

    test('a failure behind a savepoint that was rolled back does not spoil the branch', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      await db.query('insert into item values ($1)', [id]);
      await db.query('savepoint before');
      await expect(db.query('select 1 / 0')).rejects.toThrow();
      await db.query('rollback to savepoint before');
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      await branch.commit();
      assert.equal(await count(id), 1);
    });

    test('a deferred constraint that fails at PREPARE makes the vote no', async () => {
      const { branch, db } = await begin();
      await db.query('insert into item values ($1, -1)', [nextId()]);
      const vote = await branch.prepare();
      expect(vote).toMatchObject({ vote: 'no', reason: expect.stringContaining('23503') });
      assert.deepEqual(await prepared(), []);
    });

    test.each([
      ['a temporary table', 'create temp table scratch (id int)'],
      ['LISTEN', 'listen news'],
      ['NOTIFY', "notify news, 'x'"],
      ['pg_notify', "select pg_notify('news', 'x')"],
      ['a cursor WITH HOLD', 'declare later cursor with hold for select 1'],
    ])('%s makes the vote no, with the reason of the server', async (_, statement) => {
      const { branch, db } = await begin();
      await db.query(statement);
      const vote = await branch.prepare();
      expect(vote).toMatchObject({ vote: 'no', reason: expect.stringContaining('0A000') });
    });

    test('a branch that wrote nothing is over at its vote and holds no slot', async () => {
      const { branch, db } = await begin();
      await db.query('select * from item');
      expect(await branch.prepare()).toEqual({ vote: 'read-only' });
      assert.deepEqual(await prepared(), []);
      await refuses('BRANCH_ENDED', async () => db.query('select 1'));
    });

    test('an update that met no row is read-only too, and leaves nothing prepared', async () => {
      const { branch, db } = await begin();
      await db.query('update item set parent = null where id = -1');
      expect(await branch.prepare()).toEqual({ vote: 'read-only' });
      assert.deepEqual(await prepared(), []);
    });

    test('a select that wrote by a function, or locked a row, is not taken for read-only', async () => {
      const id = nextId();
      await sql(
        'create or replace function add_item(id int) returns void language sql as ' +
          '$$ insert into item values (id) $$',
      );
      const { branch, db } = await begin();
      await db.query('select add_item($1)', [id]);
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      await branch.commit();
      assert.equal(await count(id), 1);
      const locking = await begin();
      await locking.db.query('select * from item where id = $1 for update', [id]);
      expect(await locking.branch.prepare()).toMatchObject({ vote: 'yes' });
      await locking.branch.abort();
    });

    test('a statement that nobody awaited is part of the branch, or makes it vote no', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      const floating = db.query('insert into item values ($1) returning id', [id]);
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      await branch.commit();
      await floating;
      assert.equal(await count(id), 1);
      const failing = await begin();
      const failed = failing.db.query('insert into item values ($1)', [id]).catch((e) => e.code);
      expect(await failing.branch.prepare()).toMatchObject({ vote: 'no' });
      assert.equal(await failed, '23505');
    });

    test('the evidence is the xid of the very transaction that was prepared', async () => {
      const { branch, db, branchId } = await begin();
      await db.query('insert into item values ($1)', [nextId()]);
      const vote = await branch.prepare();
      assert.equal(vote.vote, 'yes');
      const { rows } = await sql('select transaction from pg_prepared_xacts where gid = $1', [
        branchId,
      ]);
      assert.equal(vote.vote === 'yes' && vote.evidence, `xid8:${rows[0].transaction}`);
      await branch.abort();
    });
  });

  describe('evidence', () => {
    const yes = async (id = nextId()) => {
      const { branch, db, branchId } = await begin();
      await db.query('insert into item values ($1)', [id]);
      const vote = await branch.prepare();
      assert.equal(vote.vote, 'yes');
      return {
        branch,
        id,
        record: { branchId, evidence: vote.vote === 'yes' ? vote.evidence : '' },
      };
    };

    test('a missing branch counts as committed only if the commit log says so', async () => {
      const { record, id, branch } = await yes();
      await sql(`commit prepared '${record.branchId}'`);
      await participant.commit(record);
      await branch.commit();
      assert.equal(await count(id), 1);
    });

    test('a branch that somebody rolled back by hand is reported, not called committed', async () => {
      const { record, branch } = await yes();
      await sql(`rollback prepared '${record.branchId}'`);
      await refuses('OUTCOME_CONTRADICTED', participant.commit(record));
      await refuses('OUTCOME_CONTRADICTED', branch.commit());
      assert.equal(await participant.outcome(record), 'aborted');
    });

    test('a branch that somebody committed by hand is reported, not called aborted', async () => {
      const { record, branch } = await yes();
      await sql(`commit prepared '${record.branchId}'`);
      await refuses('OUTCOME_CONTRADICTED', participant.abort(record));
      await refuses('OUTCOME_CONTRADICTED', branch.abort());
    });

    test('a missing branch without usable evidence is unknown, never a guess', async () => {
      const { record, branch } = await yes();
      await branch.commit();
      // An xid of the future: the database was restored from a backup that did not hold it.
      for (const evidence of ['', 'xid8:999999999999', 'something else']) {
        const lost = { ...record, evidence };
        await refuses('RESULT_UNKNOWN', participant.commit(lost));
        assert.equal(await participant.outcome(lost), 'unknown');
      }
    });

    test('two finishers of one branch: the second finds it busy and tries again', async () => {
      const { record, id } = await yes();
      const racers = Array.from({ length: 8 }, () => participant.commit(record));
      await Promise.all(racers);
      assert.equal(await count(id), 1);
    });

    test('a branch id is a literal: one with other characters is refused before anything is sent', async () => {
      const injected = { branchId: "x'; drop table item; --", evidence: '' };
      for (const call of ['commit', 'abort', 'outcome'] as const) {
        await refuses('INVALID_ARGUMENT', participant[call](injected));
      }
      assert.equal((await sql('select 1 from item limit 0')).rowCount, 0);
    });

    test('a branch of another database of the server is refused by name, and not listed', async () => {
      const other = postgresStage(await sharedDatabase('other'));
      try {
        const { record, branch } = await yes();
        assert.deepEqual(await other.participant.recover(), []);
        for (const call of ['commit', 'abort'] as const) {
          await assert.rejects(other.participant[call](record), (error) => {
            assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
            assert.equal(error.details.setting, 'database');
            return true;
          });
        }
        await branch.abort();
      } finally {
        await other.close();
      }
    });

    test('a branch of another role is refused by name', async () => {
      const { record, branch } = await yes();
      await sql(
        "do $$ begin create role stranger login password 'stranger'; exception when duplicate_object then null; end $$",
      );
      const strange = new URL(url);
      strange.username = strange.password = 'stranger';
      const stranger = postgresStage(strange.href, { adminUrl: url });
      try {
        await assert.rejects(stranger.participant.commit(record), (error) => {
          assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
          assert.equal(error.details.setting, 'role');
          return true;
        });
      } finally {
        await stranger.close();
      }
      await branch.abort();
    });

    test('recover lists branches of our form alone, with their age', async () => {
      const { record, branch } = await yes();
      await sql(
        `begin; insert into item values (${nextId()}); prepare transaction 'somebody-elses'`,
      );
      try {
        const found = await participant.recover();
        assert.deepEqual(
          found.map(({ branchId }) => branchId),
          [record.branchId],
        );
        assert.ok((found[0]?.ageMs ?? -1) >= 0);
      } finally {
        await sql("rollback prepared 'somebody-elses'");
        await branch.abort();
      }
    });
  });

  describe('tampering', () => {
    test.each([
      'commit',
      '  COMMIT;',
      '/* all */ -- right\n commit',
      'end',
      'rollback',
      'abort',
      'begin',
      'start transaction',
      "prepare transaction 'mine'",
      'commit and chain',
      'rollback work',
    ])(
      '%j inside a branch is BRANCH_TAMPERED, is not sent, and the branch votes no',
      async (statement) => {
        const id = nextId();
        const { branch, db } = await begin();
        await db.query('insert into item values ($1)', [id]);
        await refuses('BRANCH_TAMPERED', async () => db.query(statement));
        const vote = await branch.prepare();
        expect(vote).toMatchObject({ vote: 'no', cause: code('BRANCH_TAMPERED') });
        assert.equal(await count(id), 0);
      },
    );

    test.each([
      'select 1; commit',
      'select 1; commit; begin',
      'select 1; rollback',
      'select 1; rollback; begin',
    ])(
      '%j slips through in one text: it is reported afterwards, and the branch votes no',
      async (statement) => {
        const { branch, db } = await begin();
        await refuses('BRANCH_TAMPERED', async () => db.query(statement));
        const vote = await branch.prepare();
        expect(vote).toMatchObject({ vote: 'no', cause: code('BRANCH_TAMPERED') });
        assert.deepEqual(await prepared(), []);
      },
    );

    test('release() by a cast is BRANCH_TAMPERED, and the pool keeps its client', async () => {
      const { branch, db } = await begin();
      await db.query('insert into item values ($1)', [nextId()]);
      const client = db as unknown as pg.PoolClient;
      await refuses('BRANCH_TAMPERED', async () => client.release());
      expect(await branch.prepare()).toMatchObject({ vote: 'no' });
    });

    test("savepoints, SET LOCAL and the isolation level are the body's own", async () => {
      const { branch, db } = await begin();
      await db.query('set transaction isolation level serializable');
      await db.query('savepoint a; select 1; rollback to a; release savepoint a');
      await db.query("set local work_mem = '8MB'");
      const { rows } = await db.query('show transaction_isolation');
      assert.equal(rows[0].transaction_isolation, 'serializable');
      await db.query('insert into item values ($1)', [nextId()]);
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      await branch.abort();
    });
  });

  describe('the handle', () => {
    test('takes a text, values, a config, arrays of rows and a callback, as pg does', async () => {
      const { branch, db } = await begin();
      const typed = await db.query<{ n: number }>('select $1::int as n', [7]);
      assert.equal(typed.rows[0]?.n, 7);
      const named = await db.query({ name: 'seven', text: 'select $1::int as n', values: [7] });
      assert.equal(named.rows[0].n, 7);
      const arrays = await db.query({ text: 'select 1, 2', rowMode: 'array' });
      assert.deepEqual(arrays.rows, [[1, 2]]);
      const viaCallback = await new Promise((resolve, reject) => {
        db.query('select 3 as n', (error, result) =>
          error ? reject(error) : resolve(result.rows[0].n),
        );
      });
      assert.equal(viaCallback, 3);
      await branch.abort();
    });

    test('an error of the server arrives as pg throws it', async () => {
      const { branch, db } = await begin();
      await assert.rejects(
        async () => db.query('select * from nothing'),
        (error) => {
          assert.ok(error instanceof pg.DatabaseError);
          assert.equal(error.code, '42P01');
          return true;
        },
      );
      await branch.abort();
    });
  });

  describe('time', () => {
    test('statements, locks and pauses of a branch are bounded by the time that is left', async () => {
      const { branch, db } = await begin({ timeoutMs: 1_234 });
      for (const setting of [
        'statement_timeout',
        'lock_timeout',
        'idle_in_transaction_session_timeout',
      ]) {
        const { rows } = await db.query(
          `select setting from pg_settings where name = '${setting}'`,
        );
        // What is left when the first statement begins the transaction: a little less.
        const boundMs = Number(rows[0].setting);
        assert.ok(boundMs > 0 && boundMs <= 1_234, `${setting} = ${boundMs}`);
      }
      await branch.abort();
      const { rows } = await stage.pool.query('show statement_timeout');
      assert.equal(rows[0].statement_timeout, '0', 'a pooled connection keeps its own');
    });

    test('a shorter statement_timeout of the service itself stays', async () => {
      const strict = new URL(url);
      strict.searchParams.set('options', '-c statement_timeout=700');
      const own = postgresStage(strict.href);
      const { branch, db } = await own.begin({ timeoutMs: 5_000 });
      const { rows } = await db.query(
        "select setting from pg_settings where name = 'statement_timeout'",
      );
      assert.equal(rows[0].setting, '700');
      await branch.abort();
      await own.close();
    });

    test('two branches that wait for each other end by the time-out, not never', async () => {
      const [a, b] = [nextId(), nextId()];
      await sql('insert into item values ($1), ($2)', [a, b]);
      const [first, second] = await Promise.all([
        begin({ timeoutMs: 400 }),
        begin({ timeoutMs: 400 }),
      ]);
      const touch = 'update item set parent = null where id = $1';
      await Promise.all([first.db.query(touch, [a]), second.db.query(touch, [b])]);
      const crossed = await Promise.allSettled([
        first.db.query(touch, [b]),
        second.db.query(touch, [a]),
      ]);
      assert.ok(crossed.some(({ status }) => status === 'rejected'));
      await Promise.all([first.branch.abort(), second.branch.abort()]);
    });

    test('enlist waits for a connection no longer than the transaction, and a late one goes back', async () => {
      const small = postgresStage(url, { max: 1 });
      const held = await small.begin();
      const reason = new Error('time is up');
      const waiting = new AbortController();
      const late = small.begin({ signal: waiting.signal });
      waiting.abort(reason);
      await assert.rejects(late, reason);
      assert.equal(small.pool.waitingCount, 1, 'the pool itself still waits');
      await held.branch.abort();
      await eventually(() => small.pool.waitingCount === 0 && small.pool.idleCount === 1);
      const next = await small.begin();
      await next.branch.abort();
      await small.close();
    });

    test('a branch whose statement still waits is given up at once, and its client is not pooled', async () => {
      const id = nextId();
      await sql('insert into item values ($1)', [id]);
      const holder = await begin();
      await holder.db.query('update item set parent = null where id = $1', [id]);
      const blocked = await begin({ timeoutMs: 3_000 });
      const stuck = blocked.db
        .query('update item set parent = null where id = $1', [id])
        .catch((e) => e);
      const totalBefore = stage.pool.totalCount;
      const startedAt = performance.now();
      await blocked.branch.abort();
      assert.ok(performance.now() - startedAt < 1_000);
      assert.ok((await stuck) instanceof Error);
      assert.equal(stage.pool.totalCount, totalBefore - 1);
      await holder.branch.abort();
    });
  });
});
