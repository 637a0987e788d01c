import { zookeeper, zookeeperTransactions } from 'tricord/zookeeper';
import { systemClock } from '../../../src/core/clock.js';
import { newTransactionIds } from '../../../src/core/ids.js';
import { systemRandom } from '../../../src/core/random.js';
import { loadClient } from '../../../src/drivers/zookeeper/load.js';
import type { ServerHandle } from '../../servers/provider.js';
import { median } from '../lock/measure.js';
import { rate, ratio, type Table } from '../lock/report.js';

const IN_FLIGHT = 32;

/** Decisions a second on one ZooKeeper server, against a znode for each of them. */
export async function zookeeperDecisions(
  server: ServerHandle,
  { rounds, roundMs }: { readonly rounds: number; readonly roundMs: number },
): Promise<Table> {
  const session = zookeeper({ servers: server.url });
  await session.ready();
  const [hand, createNode] = await bareClient(server.url);
  await createNode('/bench', Buffer.alloc(0));
  const log = zookeeperTransactions({ session, recordRetainMs: 0 });
  const [clock, random] = [systemClock, systemRandom];
  const opened = log.open({ nodeId: 'bench', namespace: 'default', clock, random });
  const incarnation = random.token(11);
  await opened.register(incarnation);
  const newId = newTransactionIds({ namespace: 'default', authority: 'zk', incarnation });
  let made = 0;
  const decide = async (): Promise<void> => {
    made += 1;
    const transactionId = newId(`order:${made}`, 'bench');
    const branch = { branchId: `${transactionId}.1`, evidence: 'xid8:123456', participant: 'a' };
    const branches = [branch, { ...branch, branchId: `${transactionId}.2`, participant: 'b' }];
    const record = { transactionId, resourceId: `order:${made}`, nodeId: 'bench', branches };
    await opened.decide(incarnation, record);
    await opened.acknowledge(branches.map(({ participant }) => ({ transactionId, participant })));
  };
  const create = async (): Promise<void> => {
    made += 1;
    await createNode(`/bench/${made}`, Buffer.alloc(200));
  };
  const rates: Record<'tricord' | 'hand', number[]> = { tricord: [], hand: [] };
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, work] of [
      ['tricord', decide],
      ['hand', create],
    ] as const) {
      const until = performance.now() + roundMs;
      let done = 0;
      await Promise.all(
        Array.from({ length: IN_FLIGHT }, async () => {
          while (performance.now() < until) {
            await work();
            done += 1;
          }
        }),
      );
      if (round > 0) rates[name].push((done / roundMs) * 1_000);
    }
  }
  await opened.close();
  await session.close();
  hand.close();
  const [ours, theirs] = [median(rates.tricord), median(rates.hand)];
  return {
    title: 'Decisions on ZooKeeper',
    method: `${IN_FLIGHT} decisions are in flight on one server. "By hand" is a znode of 200 bytes for each, sent without waiting for the others.`,
    columns: ['', 'decisions/s', '× by hand'],
    rows: [
      [
        'tricord: one znode a coordinator, decisions travel together',
        rate(ours),
        ratio(ours / theirs),
      ],
      ['by hand: one znode a decision', rate(theirs), ratio(1)],
    ],
  };
}

type CreateNode = (path: string, data: Buffer) => Promise<void>;

/** The npm package itself, a session of its own, nothing around it. */
async function bareClient(connect: string): Promise<[{ close(): unknown }, CreateNode]> {
  const Client = await loadClient();
  const client = new Client();
  const connected = new Promise((resolve) => client.on('connect', resolve));
  const limits = { timeout: 10_000, response_counter_limit: 2 ** 30 };
  client.init({ connect, ...limits, debug_level: 0, host_order_deterministic: true });
  await connected;
  const createNode: CreateNode = (path, data) =>
    new Promise((resolve, reject) => {
      client.a_create(path, data, 0, (rc) => (rc === 0 ? resolve() : reject(new Error(`${rc}`))));
    });
  return [client, createNode];
}
