// A service of the bench of calls: inserts a row for a call, and, not atomically, for an HTTP request:
// node service-process.ts ‹config as JSON›, which prints its port when it is ready

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createTransactionSite, serveParticipant } from 'tricord';
import { postgresParticipant, postgresSiteStorage } from 'tricord/postgres';
import { redisTransactions, redisTransport } from 'tricord/redis';

const { name, databaseUrl, redisUrl } = JSON.parse(process.argv[2] ?? '{}') as {
  readonly name: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
};
const INSERT = 'insert into item (number) values ($1)';
const pool = new pg.Pool({ connectionString: databaseUrl, max: 34 });
const client = new Redis(redisUrl);
const transport = redisTransport({ client });
const site = createTransactionSite({ name, transport, storage: postgresSiteStorage({ pool }) });
const items = postgresParticipant({ name: 'items', pool });
const served = serveParticipant<number, number>({
  store: redisTransactions({ client }),
  name,
  site,
  participants: [items],
  concurrency: 32,
  handlers: {
    async prepare(number, { enlist }) {
      await (await enlist(items)).query(INSERT, [number]);
      return number;
    },
  },
});
await Promise.all([site.ready, served.ready]);

const http = createServer(async (request, response) => {
  // What this process has sent to other sites so far.
  if (request.url === '/sent') return response.end(JSON.stringify(site.stats().sent));
  let body = '';
  for await (const chunk of request) body += chunk;
  await pool.query(INSERT, [Number(body)]);
  return response.end(body);
});
http.keepAliveTimeout = 60_000;
http.listen(0, '127.0.0.1', () => console.log((http.address() as AddressInfo).port));
