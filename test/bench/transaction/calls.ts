import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createTransactionCoordinator, createTransactionSite, type TransactionSite } from 'tricord';
import { postgresParticipant, postgresSiteStorage, setupSql } from 'tricord/postgres';
import { redisTransactions, redisTransport } from 'tricord/redis';
import type { PostgresHandle, ServerHandle } from '../../servers/provider.js';
import { median, quantile, sleep, spread } from '../lock/measure.js';
import { ms, percent, rate, ratio, type Table } from '../lock/report.js';
import { type Commit, compete, rush } from './price.js';

const PROCESS = fileURLToPath(new URL('./service-process.ts', import.meta.url));
const SERVICES = ['stock', 'payment'] as const;
const DATABASES = ['orders', ...SERVICES] as const;
const CLIENTS = [1, 8];
const INSERT = 'insert into item (number) values ($1)';
const [LOCAL, TWO, THREE, HTTP] = [
  'local branches',
  '`tx.call`, two-phase',
  '`tx.call`, three-phase',
  'HTTP, not atomic',
] as const;

/** The parts of the bench, and how to let them go. */
interface Stage extends AsyncDisposable {
  readonly contenders: Readonly<Record<string, Commit>>;
  /** Batches of commands that Redis has read so far. */
  redisReads(): Promise<number>;
  /** Messages that all sites have sent so far, without the last one, which lets records go. */
  sitesSent(): Promise<number>;
}

/** What it costs that other services do parts of a transaction. */
export async function calls(
  servers: { readonly postgres: PostgresHandle; readonly redis: ServerHandle },
  options: { readonly rounds: number; readonly roundMs: number; readonly counted: number },
): Promise<Table> {
  await using stage = await stageOf(servers);
  const { contenders } = stage;
  const count = SERVICES.length;
  for (const commit of Object.values(contenders)) await rush(commit, count, 8, options.roundMs * 2);
  const messages = await messagesOf(stage, options.counted);
  const rows: string[][] = [];
  for (const clients of CLIENTS) {
    const scores = await compete(contenders, { ...options, count, clients });
    const floor = median(scores.get(LOCAL)?.medians ?? []);
    for (const [name, { latencies, rates, medians }] of scores) {
      rows.push([
        ...[String(clients), name, ms(quantile(latencies, 0.5)), ms(quantile(latencies, 0.99))],
        ...[rate(median(rates)), percent(spread(medians)), ratio(median(medians) / floor)],
      ]);
    }
  }
  return {
    title: 'Parts in other services',
    method: `One row is inserted in each of ${DATABASES.length} databases of one PostgreSQL server. With "${LOCAL}" one process has all of them; else ${count} are behind services, a process each, that are called at the same time. The store of calls and decisions is Redis. "${HTTP}" inserts and commits by a request to each service. The last column is the median latency over that of ${LOCAL}.`,
    columns: ['clients', '', 'p50', 'p99', 'tx/s', 'spread', '× local'],
    rows,
    notes: messages,
  };
}

/** One transaction after another, so that no two share a message. */
async function messagesOf(stage: Stage, counted: number): Promise<readonly string[]> {
  const each = async (name: string, read: () => Promise<number>): Promise<string> => {
    const before = await read();
    for (let id = 0; id < counted; id += 1) await stage.contenders[name]?.(id, SERVICES.length);
    // What follows the answer belongs to it.
    await sleep(500);
    return (((await read()) - before) / counted).toFixed(1);
  };
  const local = await each(LOCAL, stage.redisReads);
  const two = await each(TWO, stage.redisReads);
  const three = await each(THREE, stage.sitesSent);
  const calls = SERVICES.length;
  return [
    `Messages a transaction, one after another, over ${counted}: with two-phase calls Redis reads ${two} batches of commands (heartbeats are among them), with local branches ${local}; two-phase commit between ${calls} participants and a coordinator that talk directly takes 4N = ${4 * calls} messages.`,
    `With three-phase the ${DATABASES.length} sites send each other ${three} messages a transaction, beside the calls themselves; the theory has 6N = ${6 * calls} for ${calls} participants. The last message of ours, by which the coordinator lets records go, is not among them.`,
  ];
}

async function stageOf({
  postgres,
  redis,
}: {
  readonly postgres: PostgresHandle;
  readonly redis: ServerHandle;
}): Promise<Stage> {
  const pools: pg.Pool[] = [];
  const services: { readonly child: ChildProcess; readonly port: number }[] = [];
  for (const name of DATABASES) {
    const databaseUrl = await postgres.createDatabase(`calls_${name}`);
    const pool = new pg.Pool({ connectionString: databaseUrl, max: 34 });
    pools.push(pool);
    await pool.query(`${setupSql()};create table item (id bigserial primary key, number int)`);
    if (name !== 'orders') services.push(await started({ name, databaseUrl, redisUrl: redis.url }));
  }
  const [own] = pools as [pg.Pool];
  const client = new Redis(redis.url);
  const log = redisTransactions({ client });
  const [transport, storage] = [redisTransport({ client }), postgresSiteStorage({ pool: own })];
  const site = createTransactionSite({ name: 'orders', transport, storage });
  await site.ready;
  const participants = pools.map((pool, index) =>
    postgresParticipant({ name: DATABASES[index] ?? '', pool }),
  );
  const coordinator = createTransactionCoordinator({ log, participants, site });
  const [orders] = participants as [(typeof participants)[number]];
  const calling =
    (protocol: 'two-phase' | 'three-phase'): Commit =>
    (id) =>
      coordinator.commit({ resourceId: `item:${id}`, protocol }, async (tx) => {
        const inserting = tx.enlist(orders).then((branch) => branch.query(INSERT, [id]));
        await Promise.all([inserting, ...SERVICES.map((name) => tx.call(name, id))]);
      });
  const local: Commit = (id) =>
    coordinator.commit({ resourceId: `item:${id}` }, async (tx) => {
      await Promise.all(
        participants.map(async (each) => (await tx.enlist(each)).query(INSERT, [id])),
      );
    });
  const agent = new Agent({ keepAlive: true });
  const byHttp: Commit = (id) =>
    Promise.all([
      own.query(INSERT, [id]),
      ...services.map(({ port }) => asked(agent, port, '/', String(id))),
    ]);
  return {
    contenders: {
      [LOCAL]: local,
      [TWO]: calling('two-phase'),
      [THREE]: calling('three-phase'),
      [HTTP]: byHttp,
    },
    async redisReads() {
      return Number(/total_reads_processed:(\d+)/.exec(await client.info('stats'))?.[1]);
    },
    async sitesSent() {
      const texts = await Promise.all(services.map(({ port }) => asked(agent, port, '/sent')));
      const all = [site.stats().sent, ...texts.map((text) => JSON.parse(text) as Sent)];
      return all.map(withoutForget).reduce((sum, each) => sum + each, 0);
    },
    async [Symbol.asyncDispose]() {
      await coordinator.close();
      await site.close();
      for (const { child } of services) child.kill('SIGKILL');
      agent.destroy();
      await Promise.all(pools.map((pool) => pool.end()));
      client.disconnect();
    },
  };
}

type Sent = ReturnType<TransactionSite['stats']>['sent'];

function withoutForget({ forget: _, ...others }: Sent): number {
  return Object.values(others).reduce((sum, each) => sum + each, 0);
}

async function started(config: object): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, ['--import', 'tsx', PROCESS, JSON.stringify(config)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const line = once(lines, 'line').then(([text]) => Number(text));
  const ended = once(child, 'exit').then(([code]): never => {
    throw new Error(`a service ended with ${code} before it was ready`);
  });
  ended.catch(() => {});
  return { child, port: await Promise.race([line, ended]) };
}

/** One request over a connection that is kept. */
function asked(agent: Agent, port: number, path: string, body = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { agent, host: '127.0.0.1', port, path, method: 'POST' };
    const sending = request(options, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      if (response.statusCode === 200) resolve(text);
      else reject(new Error(`${path} answered ${response.statusCode}: ${text}`));
    });
    sending.on('error', reject);
    sending.end(body);
  });
}
