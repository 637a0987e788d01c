// What calls to other services send to the store, counted on servers that nobody else uses, against
// the table of docs/reference/transaction-costs.md.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { createTransactionCoordinator, type DecisionLog, serveParticipant } from 'tricord';
import { memoryParticipant } from 'tricord/memory';
import { redisTransactions } from 'tricord/redis';
import { zookeeper, zookeeperTransactions } from 'tricord/zookeeper';
import { expect, test } from 'vitest';
import { startRedis, startZookeeper } from '../servers/provider.js';
import { measured } from '../servers/shared.js';
import { ask } from '../servers/wire.js';

const ROUNDS = 20;
const SERVICES = ['stock', 'payment'] as const;
const PAGE = readFileSync(
  new URL('../../docs/reference/transaction-costs.md', import.meta.url),
  'utf8',
);

/** The numbers of a row of the table of calls. */
function row(first: string, second: string): readonly number[] {
  const cells = PAGE.split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .find((each) => each[1] === first && each[2] === second);
  assert.ok(cells, `the page has no row ${first}, ${second}`);
  return cells.slice(3, -1).map(Number);
}

/** A caller and two services, each with a session of its own on the store, and no sweeps. */
async function shop(logOf: () => DecisionLog) {
  const sweepMs = Number.POSITIVE_INFINITY;
  let rows = 0;
  const served = SERVICES.map((name) => {
    const resource = memoryParticipant({ name: `${name}-db` });
    return serveParticipant<number, number>({
      ...{ store: logOf(), name, participants: [resource], sweepMs: 600_000 },
      handlers: {
        async prepare(id, { enlist }) {
          const db = await enlist(resource);
          await db.set(`row ${id}`, 1);
          return id;
        },
      },
    });
  });
  await Promise.all(served.map(({ ready }) => ready));
  const coordinator = createTransactionCoordinator({ log: logOf(), participants: [], sweepMs });
  const order = () =>
    coordinator.run({ resourceId: 'order' }, async (tx) => {
      rows += 1;
      await Promise.all(SERVICES.map((name) => tx.call(name, rows)));
    });
  for (let index = 0; index < 3; index += 1) assert.equal((await order()).state, 'committed');
  return {
    /** Runs orders, and answers how much a counter went up for each. */
    async count(counter: () => Promise<number>): Promise<number> {
      await settled();
      const before = await counter();
      for (let index = 0; index < ROUNDS; index += 1) {
        assert.equal((await order()).state, 'committed');
        // The next one begins when this one is forgotten.
        await settled();
      }
      return ((await counter()) - before) / ROUNDS;
    },
    async close() {
      await coordinator.close();
      for (const each of served) await each.close();
    },
  };
}

/** Until what is not waited for has been sent. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 100));

test('two calls over Redis: five messages each, beside those of the log [redis]', async () => {
  await using server = await startRedis({ appendonly: 'always' });
  const clients: Redis[] = [];
  const logOf = () => {
    const client = new Redis(server.url);
    clients.push(client);
    return redisTransactions({ client, livenessTimeoutMs: 600_000 });
  };
  const { count, close } = await shop(logOf);
  const [admin] = clients;
  const scripts = async (): Promise<number> => {
    const text = (await admin?.info('commandstats')) ?? '';
    const found = /cmdstat_evalsha:calls=(\d+)/.exec(text);
    return Number(found?.[1]);
  };
  const [call = 0] = row('a call', '`redisTransactions`');
  const [before = 0, , later = 0] = row('committed', '`redisTransactions`');
  const counted = await count(scripts);
  measured(`two calls over Redis: ${counted} scripts`);
  assert.equal(counted, 2 * call + before + later);
  await close();
  for (const client of clients) client.disconnect();
});

test('two calls over ZooKeeper: five writes each, beside that of the log [zookeeper]', async () => {
  await using server = await startZookeeper();
  const sessions: ReturnType<typeof zookeeper>[] = [];
  const logOf = () => {
    const session = zookeeper({ servers: server.url, sessionTimeoutMs: 10_000 });
    sessions.push(session);
    return zookeeperTransactions({ session });
  };
  const { count, close } = await shop(logOf);
  const numberIn = async (command: string, pattern: RegExp): Promise<number> =>
    Number(pattern.exec(await ask(server, command))?.[1]);
  const writes = await count(() => numberIn('srvr', /Zxid: (0x[0-9a-f]+)/));
  const [call = 0, requests = 0] = row('a call', '`zookeeperTransactions`');
  const [before = 0, , later = 0] = row('committed', '`zookeeperTransactions`');
  // A write now and then is of sessions, and of the log's own housekeeping.
  assert.equal(Math.round(writes), 2 * call + before + later);
  // Pings are among them.
  const sent = await count(() => numberIn('mntr', /zk_packets_received\s+(\d+)/));
  measured(`two calls over ZooKeeper: ${writes} writes, ${sent} packets`);
  expect(sent).toBeLessThanOrEqual(2 * requests + 6);
  await close();
  for (const session of sessions) await session.close();
});
