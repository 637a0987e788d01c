// The traps of XA, each against a real MariaDB: what a driver that trusts the obvious gets wrong, and
// what mysqlParticipant does instead.

import assert from 'node:assert/strict';
import mysql from 'mysql2/promise';
import { isCoordinationError } from 'tricord';
import { mysqlParticipant, setupSql } from 'tricord/mysql';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { onServer, sharedDatabase } from '../servers/shared.js';
import { mysqlStage } from './mysql-stage.js';
import { eventually } from './postgres-stage.js';

const refuses = (expected: string, work: Promise<unknown> | (() => Promise<unknown>)) =>
  expect(work).rejects.toMatchObject({ code: expected });

onServer('mariadb', 'the traps of XA', async () => {
  const url = await sharedDatabase('traps', 'mariadb');
  const stage = await mysqlStage(url);
  const { begin, sql, prepared, participant } = stage;
  beforeAll(async () => {
    await sql('create table item (id int primary key, n int not null default 0) engine=InnoDB');
    await sql(
      'create function add_item(id int) returns int modifies sql data ' +
        'begin insert into item values (id, 0); return id; end',
    );
    await sql('create procedure finish_it() begin commit; end');
  });
  afterEach(() => stage.sweep());
  afterAll(() => stage.close());
  let lastId = 0;
  const nextId = () => {
    lastId += 1;
    return lastId;
  };
  const count = async (id: number) => (await sql('select 1 from item where id = ?', [id])).length;
  const evidence = (branchId: string) =>
    sql('select state from tricord_branches where branch_id = ?', [branchId]);
  const yes = async (id = nextId()) => {
    const staged = await begin();
    await staged.db.query('insert into item values (?, 0)', [id]);
    const vote = await staged.branch.prepare();
    assert.equal(vote.vote, 'yes');
    const record = {
      branchId: staged.branchId,
      evidence: vote.vote === 'yes' ? vote.evidence : '',
    };
    return { ...staged, id, record };
  };

  describe('the vote', () => {
    test('a lock time-out that the body swallows makes the vote no, although XA PREPARE would succeed', async () => {
      const [wanted, other] = [nextId(), nextId()];
      await sql('insert into item values (?, 0), (?, 0)', [wanted, other]);
      const holder = await begin();
      await holder.db.query('update item set n = 1 where id = ?', [wanted]);
      const { branch, db } = await begin({ timeoutMs: 15_000 });
      await db.query('update item set n = 1 where id = ?', [other]);
      await db.query('set session innodb_lock_wait_timeout = 1');
      const swallowed = await db
        .query('update item set n = 2 where id = ?', [wanted])
        .catch((error) => error.errno);
      assert.equal(swallowed, 1205);
      expect(await branch.prepare()).toMatchObject({
        vote: 'no',
        reason: expect.stringContaining('1205'),
      });
      assert.deepEqual(await prepared(), []);
    });

    test('a deadlock that the body swallows makes the vote no', async () => {
      const [a, b] = [nextId(), nextId()];
      await sql('insert into item values (?, 0), (?, 0)', [a, b]);
      const [one, two] = [await begin(), await begin()];
      const touch = 'update item set n = n + 1 where id = ?';
      await Promise.all([one.db.query(touch, [a]), two.db.query(touch, [b])]);
      const crossed = await Promise.allSettled([
        one.db.query(touch, [b]),
        two.db.query(touch, [a]),
      ]);
      const victims = [one, two].filter((_, index) => crossed[index]?.status === 'rejected');
      assert.equal(victims.length, 1);
      expect(await victims[0]?.branch.prepare()).toMatchObject({
        vote: 'no',
        reason: expect.stringContaining('1213'),
      });
    });

    test('an error behind a savepoint that was rolled back does not spoil the branch', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      await db.query('insert into item values (?, 0)', [id]);
      await db.query('savepoint Before_it');
      await expect(db.query('insert into item values (?, 0)', [id])).rejects.toThrow('Duplicate');
      await db.query('rollback to savepoint `before_it`');
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      await branch.commit();
      assert.equal(await count(id), 1);
    });

    test('an error before the savepoint that was rolled back to still makes the vote no', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      await db.query('insert into item values (?, 0)', [id]);
      await db.query('insert into item values (?, 0)', [id]).catch(() => {});
      await db.query('savepoint after_it');
      await db.query('rollback to after_it');
      expect(await branch.prepare()).toMatchObject({ vote: 'no' });
    });

    test('a branch that only read is over at its vote, leaves no row and holds nothing', async () => {
      const { branch, db, branchId } = await begin();
      await db.query('select * from item');
      await db.execute('select count(*) from item where id > ?', [0]);
      expect(await branch.prepare()).toEqual({ vote: 'read-only' });
      assert.deepEqual(await prepared(), []);
      assert.deepEqual(await evidence(branchId), []);
      await refuses('BRANCH_ENDED', async () => db.query('select 1'));
    });

    test('a select that writes by a function is not taken for read-only', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      await db.query('select add_item(?) as id', [id]);
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      assert.equal(await count(id), 0);
      await branch.commit();
      assert.equal(await count(id), 1);
    });

    test('a statement that nobody awaited is part of the branch, or makes it vote no', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      const floating = db.query('insert into item values (?, 0)', [id]);
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      await branch.commit();
      await floating;
      assert.equal(await count(id), 1);
      const failing = await begin();
      const failed = failing.db.query('insert into item values (?, 0)', [id]).catch((e) => e.errno);
      expect(await failing.branch.prepare()).toMatchObject({ vote: 'no' });
      assert.equal(await failed, 1062);
    });

    test('a prepare that comes after the abort of its branch votes no', async () => {
      const { branch, db, branchId } = await begin();
      await db.query('insert into item values (?, 0)', [nextId()]);
      await participant.abort({ branchId, evidence: '' });
      expect(await branch.prepare()).toMatchObject({
        vote: 'no',
        reason: 'the branch was aborted before',
      });
      assert.equal(await participant.outcome({ branchId, evidence: '' }), 'aborted');
    });
  });

  describe('evidence: 1397 means finished, never, or held by its owner', () => {
    test('finished: a commit by hand is a success, because the row is there', async () => {
      const { record, branch, id } = await yes();
      await branch.commit();
      await participant.commit(record);
      assert.equal(await count(id), 1);
      assert.equal(await participant.outcome(record), 'committed');
    });

    test('never: the commit of a branch without evidence is unknown, never a guess', async () => {
      const { branchId } = await begin();
      const never = { branchId: `${branchId}7`, evidence: '' };
      await refuses('RESULT_UNKNOWN', participant.commit(never));
      assert.equal(await participant.outcome(never), 'unknown');
    });

    test('evidence that is older than the rows that are kept proves nothing', async () => {
      const { branchId } = await begin();
      const old = { branchId: `${branchId}6`, evidence: `at:${Date.now() - 8 * 24 * 3_600_000}` };
      await refuses('RESULT_UNKNOWN', participant.commit(old));
      assert.equal(await participant.outcome(old), 'unknown');
    });

    test('rolled back by hand: reported, not called committed', async () => {
      const { record, branch } = await yes();
      await participant.abort(record);
      await refuses('OUTCOME_CONTRADICTED', participant.commit(record));
      // Its connection was ended for that, which the owner notices at its own attempt.
      await assert.rejects(branch.commit());
      assert.equal(await participant.outcome(record), 'aborted');
    });

    test('committed by hand: an abort is refused and changes nothing', async () => {
      const { record, id } = await yes();
      await participant.commit(record);
      await refuses('OUTCOME_CONTRADICTED', participant.abort(record));
      assert.equal(await count(id), 1);
    });

    test('held by its owner: another process finishes it, and the connection of the owner ends', async () => {
      const { record, id, branch } = await yes();
      const pool = mysql.createPool({ uri: url });
      const other = mysqlParticipant({ name: 'orders', pool });
      await other.commit(record);
      assert.equal(await count(id), 1);
      // The owner's reply is unknown, and its evidence tells.
      await refuses('RESULT_UNKNOWN', branch.commit());
      assert.equal(await participant.outcome(record), 'committed');
      await other.close();
      await pool.end();
    });

    test('a branch whose owner closes is let go: anybody finishes it, without a right to end connections', async () => {
      const owner = await mysqlStage(url);
      const { branch, db, branchId } = await owner.begin();
      const id = nextId();
      await db.query('insert into item values (?, 0)', [id]);
      assert.equal((await branch.prepare()).vote, 'yes');
      const client = await mysql.createConnection(url);
      try {
        const [rows] = await client.query<mysql.RowDataPacket[]>('xa recover');
        const gtrid = branchId.slice(0, -2);
        const own = rows.find(({ data }) => String(data).startsWith(gtrid)) ?? assert.fail();
        const bqual = String(own.data).slice(gtrid.length);
        const commit = () => client.query(`xa commit '${gtrid}', '${bqual}', ${own.formatID}`);
        // As long as its connection lives, MariaDB knows the branch nowhere else.
        await expect(commit()).rejects.toMatchObject({ errno: 1397 });
        await owner.participant.close();
        const isFinished = async () => (await prepared()).length === 0;
        await eventually(async () => {
          await commit().catch(({ errno }) => assert.equal(errno, 1397));
          return isFinished();
        });
        assert.equal(await count(id), 1);
        assert.deepEqual(await evidence(branchId), [{ state: 'committed' }]);
        // The service's pool goes on.
        await owner.pool.query('select 1');
      } finally {
        await client.end();
        await owner.close();
      }
    });

    test('two participants on one server, and others beside tricord, never see each other', async () => {
      const { branchId } = await yes();
      const other = await mysqlStage(url, { name: 'stock' });
      const client = await mysql.createConnection(url);
      await client.query("xa start 'somebody', 'elses'");
      await client.query('insert into item values (?, 0)', [nextId()]);
      await client.query("xa end 'somebody', 'elses'");
      await client.query("xa prepare 'somebody', 'elses'");
      try {
        assert.deepEqual(await prepared(), [branchId]);
        assert.deepEqual(await other.prepared(), []);
        await other.participant.abort({ branchId, evidence: '' });
        assert.deepEqual(await prepared(), [branchId]);
      } finally {
        await client.query("xa rollback 'somebody', 'elses'");
        await client.end();
        await other.close();
      }
    });

    test('a participant with the longest name has room for it in the xid', async () => {
      const longest = await mysqlStage(url, { name: 'x'.repeat(64) });
      const { branch, db, branchId } = await longest.begin();
      await db.query('insert into item values (?, 0)', [nextId()]);
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      assert.deepEqual(await longest.prepared(), [branchId]);
      await branch.abort();
      await longest.close();
    });

    test('a branch id is a literal: one with other characters is refused before anything is sent', async () => {
      const injected = { branchId: "x'; drop table item; --", evidence: '' };
      for (const call of ['commit', 'abort', 'outcome'] as const) {
        await refuses('INVALID_ARGUMENT', participant[call](injected));
      }
    });

    test('recover tells the age of a branch, although its row is not committed', async () => {
      const { branchId } = await yes();
      const [found] = await participant.recover();
      assert.equal(found?.branchId, branchId);
      assert.ok((found?.ageMs ?? -1) >= 0 && (found?.ageMs ?? 0) < 60_000);
    });
  });

  describe('tampering', () => {
    test.each([
      'commit',
      '  COMMIT;',
      '/* all */ -- right\n commit',
      '/*!50000 commit */',
      '# now\ncommit work',
      'rollback',
      'rollback and chain',
      'begin',
      'start transaction read only',
      "xa end 'x'",
      'xa recover',
      'create table other (id int)',
      'create or replace table other (id int)',
      'drop table item',
      'alter table item add x int',
      'truncate item',
      'lock tables item write',
      'rename table item to items',
      "grant select on *.* to 'x'",
      'analyze table item',
    ])('%j inside a branch is BRANCH_TAMPERED, is not sent, and the vote is no', async (text) => {
      const id = nextId();
      const { branch, db } = await begin();
      await db.query('insert into item values (?, 0)', [id]);
      await refuses('BRANCH_TAMPERED', async () => db.query(text));
      const vote = await branch.prepare();
      expect(vote).toMatchObject({ vote: 'no', cause: { code: 'BRANCH_TAMPERED' } });
      assert.equal(await count(id), 0);
    });

    test('a COMMIT inside a procedure is refused by the server, and the vote is no', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      await db.query('insert into item values (?, 0)', [id]);
      await expect(db.query('call finish_it()')).rejects.toMatchObject({ errno: 1399 });
      const vote = await branch.prepare();
      expect(vote).toMatchObject({ vote: 'no', cause: { code: 'BRANCH_TAMPERED' } });
      assert.equal(await count(id), 0);
    });

    test('a branch that was ended by a text of several statements votes no, and its row does not lie', async () => {
      const several = await mysqlStage(url, { pool: { multipleStatements: true } });
      for (const isSeen of [true, false]) {
        const { branch, db, branchId } = await several.begin();
        await db.query('insert into item values (?, 0)', [nextId()]);
        const dot = branchId.lastIndexOf('.');
        const xid = `'${branchId.slice(0, dot)}', '1@orders', 7627569`;
        // The header of the last statement tells; where rows come last, only the row's own does.
        const ending = `do 1; xa end ${xid}; xa rollback ${xid}`;
        const hidden = `${ending.replaceAll('do 1', 'select 1')}; select 1`;
        const told = isSeen ? ending : hidden;
        await db.query(told).catch((error) => assert.equal(error.code, 'BRANCH_TAMPERED'));
        expect(await branch.prepare()).toMatchObject({ vote: 'no' });
        assert.notDeepEqual(await evidence(branchId), [{ state: 'committed' }]);
      }
      await several.close();
    });

    test('release() by a cast is BRANCH_TAMPERED, and the pool keeps its connection', async () => {
      const { branch, db } = await begin();
      await db.query('insert into item values (?, 0)', [nextId()]);
      await refuses('BRANCH_TAMPERED', async () => (db as mysql.PoolConnection).release());
      expect(await branch.prepare()).toMatchObject({ vote: 'no' });
    });

    test('savepoints, temporary tables and session settings are welcome', async () => {
      const id = nextId();
      const { branch, db } = await begin();
      await db.query('savepoint a');
      await db.query('create temporary table scratch (id int)');
      await db.query('drop temporary table scratch');
      await db.query('rollback work to a');
      await db.query('release savepoint a');
      await db.query('insert into item values (?, 0)', [id]);
      expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
      await branch.commit();
      assert.equal(await count(id), 1);
    });
  });

  describe('time', () => {
    const limits = [
      'innodb_lock_wait_timeout',
      'lock_wait_timeout',
      'wait_timeout',
      'max_statement_time',
    ];
    const sessionOf = async (db: { query: mysql.Pool['query'] }) => {
      const columns = limits.map((name) => `@@session.${name} as ${name}`).join(', ');
      const [rows] = await db.query<mysql.RowDataPacket[]>(`select ${columns}`);
      return Object.values(rows[0] ?? {}).map(Number);
    };

    test('statements, locks and pauses are bounded by the time that is left, the session has its own back', async () => {
      const single = await mysqlStage(url, { max: 1 });
      const own = await sessionOf(single.pool);
      const { branch, db } = await single.begin({ timeoutMs: 2_345 });
      assert.deepEqual(await sessionOf(db), [3, 3, 4, 2.345]);
      await branch.abort();
      assert.deepEqual(await sessionOf(single.pool), own);
      await single.close();
    });

    test('a shorter limit of the service itself stays', async () => {
      const single = await mysqlStage(url, { max: 1 });
      await single.pool.query(
        'set session innodb_lock_wait_timeout = 2, session max_statement_time = 0.7',
      );
      const { branch, db } = await single.begin({ timeoutMs: 9_000 });
      const [row, , , statement] = await sessionOf(db);
      assert.deepEqual([row, statement], [2, 0.7]);
      await branch.abort();
      await single.close();
    });

    test('enlist waits for a connection no longer than the transaction, and a late one goes back', async () => {
      const small = await mysqlStage(url, { max: 1 });
      const held = await small.begin();
      const reason = new Error('time is up');
      const waiting = new AbortController();
      const late = small.begin({ signal: waiting.signal });
      waiting.abort(reason);
      await assert.rejects(late, reason);
      await held.branch.abort();
      const next = await small.begin();
      await next.branch.abort();
      await small.close();
    });

    test('a branch whose statement still waits is given up at once, and its connection is not pooled', async () => {
      const id = nextId();
      await sql('insert into item values (?, 0)', [id]);
      const holder = await begin();
      await holder.db.query('update item set n = 1 where id = ?', [id]);
      const blocked = await begin({ timeoutMs: 5_000 });
      const [rows] = await blocked.db.query<mysql.RowDataPacket[]>('select connection_id() as id');
      const stuck = blocked.db
        .query('update item set n = 2 where id = ?', [id])
        .catch((e) => e.code);
      const startedAt = performance.now();
      await blocked.branch.abort();
      assert.ok(performance.now() - startedAt < 2_000);
      assert.equal(await stuck, 'BRANCH_ENDED', 'mysql2 itself would leave it pending for ever');
      const ids = await Promise.all(
        [1, 2, 3].map(async () => {
          const [found] = await stage.pool.query<mysql.RowDataPacket[]>(
            'select connection_id() as id',
          );
          return found[0]?.id;
        }),
      );
      assert.ok(!ids.includes(rows[0]?.id));
    });

    test('a prepared branch whose process fell silent is let go by the server when its time is over', async () => {
      const { branch, db, branchId } = await begin({ timeoutMs: 1_000 });
      const id = nextId();
      await db.query('insert into item values (?, 0)', [id]);
      const vote = await branch.prepare();
      assert.equal(vote.vote, 'yes');
      const xid = `'${branchId.slice(0, branchId.lastIndexOf('.'))}', '1@orders', 7627569`;
      await assert.rejects(sql(`xa commit ${xid}`), { errno: 1397 });
      await eventually(
        async () =>
          sql(`xa commit ${xid}`).then(
            () => true,
            () => false,
          ),
        6_000,
      );
      assert.equal(await count(id), 1);
    });
  });

  describe('the handle and the pool', () => {
    test('takes a text, values, options and prepared statements, as mysql2 does', async () => {
      const { branch, db } = await begin();
      const [plain] = await db.query<mysql.RowDataPacket[]>('select ? as n', [7]);
      assert.equal(plain[0]?.n, 7);
      const [arrays] = await db.query<mysql.RowDataPacket[][]>({
        sql: 'select 1, 2',
        rowsAsArray: true,
      });
      assert.deepEqual(arrays, [[1, 2]]);
      const [typed] = await db.execute<mysql.RowDataPacket[]>('select ? + 1 as n', [1]);
      assert.equal(Number(typed[0]?.n), 2);
      await branch.abort();
    });

    test('a pool of callbacks is refused before it is waited for', () => {
      const callbacks = { getConnection() {}, query() {}, execute() {}, promise() {} };
      assert.throws(
        () => mysqlParticipant({ name: 'orders', pool: callbacks as never }),
        /pool of 'mysql2\/promise'/,
      );
    });

    test('a database without the tables is refused by name, with the way to make them', async () => {
      const bare = mysql.createPool({ uri: await sharedDatabase('bare', 'mariadb') });
      const strange = mysqlParticipant({ name: 'orders', pool: bare });
      for (const call of [() => strange.guarantees(), () => strange.recover()]) {
        const error = await call().catch((each: unknown) => each);
        assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
        assert.match(error.message, /setupSql\(\)/);
      }
      await strange.close();
      await bare.end();
    });

    test('tables of a newer release are refused, not misread; setupSql leaves them alone', async () => {
      const own = await sharedDatabase('newer', 'mariadb');
      const newer = await mysqlStage(own);
      await newer.sql('update tricord_versions set version = 99');
      await refuses('UPGRADE_NEEDED', newer.participant.guarantees());
      await newer.sql(setupSql());
      await refuses('UPGRADE_NEEDED', newer.participant.guarantees());
      await newer.close();
    });

    test('old rows of evidence are deleted in passing, and only those', async () => {
      const clock = { nowMs: 0 };
      const own = await sharedDatabase('prune', 'mariadb');
      const pruning = await mysqlStage(own);
      await pruning.sql('create table item (id int primary key) engine=InnoDB');
      await pruning.sql(
        'insert into tricord_branches values ' +
          "('orders', 'old', 'committed', 1, utc_timestamp(6) - interval 8 day), " +
          "('orders', 'young', 'committed', 1, utc_timestamp(6) - interval 6 day)",
      );
      const { systemClock } = await import('../../src/core/clock.js');
      const late = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + clock.nowMs };
      const pool = mysql.createPool({ uri: own });
      const participant = mysqlParticipant({ name: 'orders', pool, clock: late });
      clock.nowMs = 61_000;
      const branch = await participant.enlist({
        transactionId: 'tc1.x' as never,
        branchId: 'tc1.x.1',
        timeoutMs: 5_000,
        signal: new AbortController().signal,
        clock: systemClock,
      });
      await branch.abort();
      const left = () => pruning.sql('select branch_id from tricord_branches');
      await eventually(async () => (await left()).length === 1);
      assert.deepEqual(await left(), [{ branch_id: 'young' }]);
      await participant.close();
      await pool.end();
      await pruning.close();
    });
  });
});
