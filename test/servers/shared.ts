// What suites use under vitest.
//
//   onServer('redis', 'redisLock', (redis) => {          // the suite is named "redisLock [redis]"
//     test('grants a free resource at once', async () => {
//       const client = new Redis(redis.url);              // closed by the test
//
// Tests count for the server that their suite's name has in brackets; suites with servers of their
// own (provider.ts) write it themselves: describe('a frozen Redis [redis]', …).

import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { describe, inject } from 'vitest';
import type { BrokerAnswer, BrokerRequest, DatabaseKind, SharedServerFacts } from './broker.js';
import type { ServerKind, SharedServer } from './handle.js';
import { createProxy } from './proxy.js';

/** How a suite's name tells the server that its tests ran on, for the count at the end. */
export const serverTag = (kind: ServerKind): string => `[${kind}]`;

/** The server of a kind that this run's suites share. It starts with the first call of the run. */
export async function sharedServer(kind: ServerKind): Promise<SharedServer> {
  const facts = (await askBroker({
    verb: 'server',
    kind,
  })) as SharedServerFacts;
  return { ...facts, proxy: () => createProxy(facts) };
}

/** A suite on the shared server, named and counted for it. */
export function onServer(
  kind: ServerKind,
  name: string,
  suite: (server: SharedServer) => void | Promise<void>,
): void {
  describe(`${name} ${serverTag(kind)}`, async () => {
    await suite(await sharedServer(kind));
  });
}

/**
 * An empty database on the shared PostgreSQL, or MariaDB; removed at the end of the run. Answers its
 * address.
 */
export async function sharedDatabase(
  name = 'database',
  kind: DatabaseKind = 'postgresql',
): Promise<string> {
  return (await askBroker({ verb: 'database', name, kind })) as string;
}

/** A key prefix that no other suite, run or person uses: shared servers are never flushed. */
export const freshPrefix = (name = 'test'): string => `${name}-${randomBytes(6).toString('hex')}`;

/** Prints what a test measured; `npm test` shows these lines again at its end. */
export function measured(text: string): void {
  console.log(`measured: ${text}`);
}

function askBroker(request: BrokerRequest): Promise<SharedServerFacts | string> {
  const port = inject('serverBroker');
  if (port === undefined) {
    throw new Error('this project has no shared servers: see globalSetup in test/vitest.config.ts');
  }
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect({ port, host: '127.0.0.1' }, () =>
      socket.write(`${JSON.stringify(request)}\n`),
    );
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.once('error', reject);
    socket.once('end', () => {
      const answer = JSON.parse(text) as BrokerAnswer;
      if ('value' in answer) resolve(answer.value);
      else reject(new Error(answer.error));
    });
  });
}

declare module 'vitest' {
  interface ProvidedContext {
    serverBroker?: number;
  }
}
