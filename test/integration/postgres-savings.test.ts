// What a branch costs: the statements that go over its connection, counted on a real server.

import assert from 'node:assert/strict';
import pg from 'pg';
import { afterAll, beforeAll, test } from 'vitest';
import { onServer, sharedDatabase } from '../servers/shared.js';
import { postgresStage } from './postgres-stage.js';

onServer('postgresql', 'what a branch costs', async () => {
  const stage = postgresStage(await sharedDatabase('savings'), { max: 1 });
  const sent: string[] = [];
  stage.pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...parameters: unknown[]) => unknown;
    const recorded = (...parameters: unknown[]): unknown => {
      sent.push(String(parameters[0]));
      return query(...parameters);
    };
    Object.assign(client, { query: recorded });
  });
  beforeAll(async () => {
    await stage.sql('create table item (id int)');
    // The first branch of a participant also reads the settings of its server.
    await (await stage.begin()).branch.abort();
  });
  afterAll(() => stage.close());

  /** The first words of what a branch sent beside the work itself. */
  const costOf = async (
    work: string,
    end: (branch: Awaited<ReturnType<typeof stage.begin>>['branch']) => Promise<unknown>,
  ) => {
    sent.length = 0;
    const { branch, db } = await stage.begin();
    await db.query(work);
    await end(branch);
    return sent
      .filter((text) => text !== work)
      .map((text) => /^(begin|select|commit prepared|commit|rollback)\b/.exec(text)?.[0])
      .join(', ');
  };

  test('a branch that wrote takes three round trips: begin, PREPARE with its evidence, COMMIT PREPARED', async () => {
    const cost = await costOf('insert into item values (1)', async (branch) => {
      assert.equal((await branch.prepare()).vote, 'yes');
      await branch.commit();
    });
    assert.equal(cost, 'begin, select, commit prepared');
    assert.match(
      sent[2] ?? '',
      /^select pg_current_xact_id_if_assigned\(\).*; prepare transaction '/,
    );
  });

  test('a branch that only read prepares nothing: it is asked, and committed at once', async () => {
    const cost = await costOf('select * from item', (branch) => branch.prepare());
    assert.equal(cost, 'begin, select, commit');
    assert.ok(sent.every((text) => !text.includes('prepare transaction')));
  });

  test('the only branch of a transaction commits without PREPARE', async () => {
    const cost = await costOf('insert into item values (2)', async (branch) => {
      assert.deepEqual(await branch.commitOnePhase?.(), { state: 'committed' });
    });
    assert.equal(cost, 'begin, select, commit');
    assert.ok(sent.every((text) => !text.includes('prepare transaction')));
  });

  test('a cursor or stream, which submits itself, is inside the branch too', async () => {
    const { branch, db } = await stage.begin();
    const submitted = new pg.Query('insert into item values (4) returning id');
    assert.equal(db.query(submitted), submitted);
    const rows = await new Promise((resolve, reject) => {
      submitted.on('end', (result) => resolve(result.rows));
      submitted.on('error', reject);
    });
    assert.deepEqual(rows, [{ id: 4 }]);
    await branch.abort();
    assert.deepEqual((await stage.sql('select id from item where id = 4')).rows, []);
  });

  test('a branch that is given up costs one ROLLBACK', async () => {
    const cost = await costOf('insert into item values (3)', (branch) => branch.abort());
    assert.equal(cost, 'begin, rollback');
  });
});
