import mysql from 'mysql2/promise';
import { type MysqlBranchClient, mysqlParticipant, setupSql } from 'tricord/mysql';
import { participantContract } from 'tricord/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { onServer, sharedDatabase } from '../servers/shared.js';

/** Pools of services that set them up in ways of their own. */
const POOLS: readonly (readonly [string, mysql.PoolOptions])[] = [
  ['with the pool as it comes', {}],
  ['with rows as arrays, no numbers, no autocommit', { rowsAsArray: true, typeCast: false }],
];

onServer('mariadb', 'mysqlParticipant', async () => {
  const uri = await sharedDatabase('participant', 'mariadb');
  const reader = mysql.createPool({ uri, connectionLimit: 2, multipleStatements: true });
  beforeAll(async () => {
    await reader.query(setupSql());
    await reader.query(
      'create table kit (`key` varchar(200) primary key, value text) engine=InnoDB',
    );
  });
  afterAll(() => reader.end());

  describe.each(POOLS)('%s', (_, options) => {
    const cases = participantContract<MysqlBranchClient<mysql.Pool>>({
      open() {
        const pool = mysql.createPool({ uri, connectionLimit: 4, ...options });
        if (options.typeCast === false) {
          pool.on('connection', (connection) => void connection.query('set autocommit = 0'));
        }
        const participant = mysqlParticipant({ name: 'orders', pool });
        return { participant, close: () => pool.end() };
      },
      write: (client, key, value) => client.query('insert into kit values (?, ?)', [key, value]),
      async read(key) {
        const [rows] = await reader.query<mysql.RowDataPacket[]>(
          'select value from kit where `key` = ?',
          [key],
        );
        return rows[0]?.value;
      },
      look: (client, key) => client.execute('select value from kit where `key` = ?', [key]),
      spoil: (client) => client.query('insert into kit select * from kit limit 1'),
      notesAborts: true,
    });
    for (const { name, run } of cases) test(name, run);
  });
});
