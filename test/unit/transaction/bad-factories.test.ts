// What a program that is not compiled may pass: every factory of the transactions' parts refuses it
// with the value and what to pass, and no message holds a password.

import pg from 'pg';
import { cacheParticipant, functionParticipant, httpTransport } from 'tricord';
import { memoryParticipant, memoryTransactions } from 'tricord/memory';
import { mysqlBarrier, mysqlParticipant, mysqlSiteStorage } from 'tricord/mysql';
import {
  postgresBarrier,
  postgresParticipant,
  postgresSiteStorage,
  postgresTransactions,
} from 'tricord/postgres';
import {
  redisBarrier,
  redisFence,
  redisLock,
  redisParticipant,
  redisQuorumLock,
  redisSiteStorage,
  redisTransactions,
  redisTransport,
} from 'tricord/redis';
import { zookeeper, zookeeperTransactions, zookeeperTransport } from 'tricord/zookeeper';
import { describe, expect, test } from 'vitest';
import { createTransactionCoordinator } from '../../../src/transaction/create-coordinator.js';

type Factory = (options?: unknown) => unknown;
const factories = {
  cacheParticipant,
  createTransactionCoordinator,
  functionParticipant,
  httpTransport,
  memoryParticipant,
  mysqlBarrier,
  mysqlParticipant,
  mysqlSiteStorage,
  postgresBarrier,
  postgresParticipant,
  postgresSiteStorage,
  postgresTransactions,
  redisBarrier,
  redisFence,
  redisLock,
  redisParticipant,
  redisQuorumLock,
  redisSiteStorage,
  redisTransactions,
  redisTransport,
  zookeeper,
  zookeeperTransactions,
  zookeeperTransport,
} as unknown as Readonly<Record<string, Factory>>;

describe.each(Object.entries(factories))('%s', (_, factory) => {
  test.each([[undefined], [null], [5], [{}]])('refuses %j with what to pass', (options) => {
    const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
    expect(() => factory(options)).toThrow(refused);
    expect(() => factory(options)).toThrow(/; pass /);
  });
});

test('a single client of pg is no pool: it has no clients to give', () => {
  const client = new pg.Client() as unknown as pg.Pool;
  for (const factory of [postgresBarrier, postgresTransactions, postgresSiteStorage]) {
    expect(() => factory({ pool: client })).toThrow("pass a Pool of the package 'pg'");
  }
  const refused = "pass a Pool of the package 'pg'";
  expect(() => postgresParticipant({ name: 'orders', pool: client })).toThrow(refused);
});

test('an address in the place of a client is shown without its login', () => {
  const pool = 'postgres://shop:hun@ter2@db:5432/orders' as unknown as pg.Pool;
  expect(() => postgresParticipant({ name: 'orders', pool })).toThrow(
    /^pool is 'postgres:\/\/\*\*\*@db:5432\/orders'; pass/,
  );
});

describe('what only talks to the backends', () => {
  const create = () =>
    createTransactionCoordinator({
      ...{ log: memoryTransactions(), participants: [memoryParticipant({ name: 'stock' })] },
      sweepMs: Number.POSITIVE_INFINITY,
    });

  test('refuses a signal that is none', async () => {
    const coordinator = create();
    const call = { signal: 5 as unknown as AbortSignal };
    for (const calling of [
      () => coordinator.recover(call),
      () => coordinator.guarantees(call),
      () => coordinator.inDoubt(call).next(),
    ]) {
      await expect(calling()).rejects.toThrow(/^signal is 5; pass an AbortSignal/);
    }
    await coordinator.close();
  });

  test('warns of no leak, however many participants listen to one call', async () => {
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on('warning', note);
    const listening = async (options?: { signal?: AbortSignal | undefined }) => {
      options?.signal?.addEventListener('abort', () => {});
      return memoryParticipant({ name: 'other' }).guarantees();
    };
    const participants = Array.from({ length: 20 }, (_, index) => ({
      ...memoryParticipant({ name: `stock${index}` }),
      guarantees: listening,
    }));
    const coordinator = createTransactionCoordinator({ log: memoryTransactions(), participants });
    await coordinator.guarantees();
    await coordinator.close();
    await new Promise(setImmediate);
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });
});

describe('after its body has ended, a transaction', () => {
  test('takes no callback and no wish to roll back, which would change nothing', async () => {
    const coordinator = createTransactionCoordinator({
      ...{ log: memoryTransactions(), participants: [], sweepMs: Number.POSITIVE_INFINITY },
    });
    const tx = await coordinator.commit({ resourceId: 'order:1' }, (inner) => inner);
    for (const late of [() => tx.afterCommit(() => {}), () => tx.setRollbackOnly('too late')]) {
      expect(late).toThrow(expect.objectContaining({ code: 'CLOSED' }));
      expect(late).toThrow(tx.transactionId);
    }
    await coordinator.close();
  });

  test('a wish to roll back has a reason', async () => {
    const coordinator = createTransactionCoordinator({
      ...{ log: memoryTransactions(), participants: [], sweepMs: Number.POSITIVE_INFINITY },
    });
    const running = coordinator.commit({ resourceId: 'order:1' }, (tx) => {
      tx.setRollbackOnly(undefined as unknown as string);
    });
    await expect(running).rejects.toThrow(/^reason is undefined; pass a text/);
    await coordinator.close();
  });
});
