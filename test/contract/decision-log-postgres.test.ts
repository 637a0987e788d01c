import pg from 'pg';
import { postgresTransactions, setupSql } from 'tricord/postgres';
import { decisionLogContract } from 'tricord/testing';
import { test } from 'vitest';
import { onServer, sharedDatabase } from '../servers/shared.js';
import { loseReplies } from './lost-replies.js';

async function preparedDatabase(schema?: string): Promise<string> {
  const connectionString = await sharedDatabase('log');
  const pool = new pg.Pool({ connectionString, max: 1 });
  await pool.query(setupSql({ schema }));
  await pool.end();
  return connectionString;
}

onServer('postgresql', 'postgresTransactions', async () => {
  const connectionString = await preparedDatabase();
  const open = () => {
    const pool = new pg.Pool({ connectionString, max: 4 });
    const log = postgresTransactions({ pool, livenessTimeoutMs: 2_000 });
    return { log, close: () => pool.end() };
  };
  for (const { name, run } of decisionLogContract({ open, silentWithinMs: 4_000 })) {
    test(name, run);
  }
});

onServer(
  'postgresql',
  'postgresTransactions with a small limit, a schema and a session made for other work',
  async () => {
    const unacknowledgedMax = 8;
    const schema = 'order_log';
    const connectionString = await preparedDatabase(schema);
    // What a service may have set for its own queries must not change what a decision means.
    const settings = {
      default_transaction_isolation: 'serializable',
      default_transaction_read_only: 'on',
      synchronous_commit: 'off',
      standard_conforming_strings: 'off',
      search_path: 'nowhere',
    };
    const flags = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
    const open = () => {
      const pool = new pg.Pool({ connectionString, max: 4, options: flags.join(' ') });
      const livenessTimeoutMs = 2_000;
      const log = postgresTransactions({ pool, schema, unacknowledgedMax, livenessTimeoutMs });
      return { log, close: () => pool.end() };
    };
    const subject = { open, silentWithinMs: 4_000, unacknowledgedMax };
    for (const { name, run } of decisionLogContract(subject)) test(name, run);
  },
);

onServer('postgresql', 'postgresTransactions that forgets at once', async (postgres) => {
  const connectionString = await preparedDatabase();
  const open = async () => {
    const proxy = await postgres.proxy();
    const through = new URL(connectionString);
    through.host = `${proxy.host}:${proxy.port}`;
    const pool = new pg.Pool({ connectionString: through.href, max: 4 });
    pool.on('error', () => {});
    const log = postgresTransactions({ pool, recordRetainMs: 0, replyTimeoutMs: 500 });
    const close = async (): Promise<void> => {
      await pool.end();
      await proxy.close();
    };
    return { log, loseReplies: () => loseReplies(proxy), close };
  };
  for (const { name, run } of decisionLogContract({ open, isForgetful: true })) test(name, run);
});
