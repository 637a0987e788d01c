import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Redis } from 'ioredis';
import { httpTransport } from 'tricord';
import { memoryTransport } from 'tricord/memory';
import { redisTransport } from 'tricord/redis';
import { siteTransportContract } from 'tricord/testing';
import { zookeeper, zookeeperTransport } from 'tricord/zookeeper';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { systemRandom } from '../../src/core/random.js';
import { freshPrefix, onServer } from '../servers/shared.js';

describe('memoryTransport', () => {
  const transport = memoryTransport();
  for (const { name, run } of siteTransportContract({ open: () => ({ transport }) })) {
    test(name, run);
  }
});

onServer('redis', 'redisTransport', (redis) => {
  const namespace = freshPrefix('site');
  const open = () => {
    const client = new Redis(redis.url, { keyPrefix: 'prefix:' });
    const transport = redisTransport({ client, namespace });
    return { transport, close: async () => client.disconnect() };
  };
  for (const { name, run } of siteTransportContract({ open })) test(name, run);
});

onServer('zookeeper', 'zookeeperTransport', (server) => {
  const open = () => {
    const session = zookeeper({ servers: server.url });
    return { transport: zookeeperTransport({ session }), close: () => session.close() };
  };
  for (const { name, run } of siteTransportContract({ open })) test(name, run);
});

describe('httpTransport', () => {
  const secret = 'a secret of all sites';
  const addresses = new Map<string, string>();
  const open = async (site: string) => {
    const transport = httpTransport({ secret, addresses: (name) => addresses.get(name) });
    const server = createServer((request, response) => {
      void transport.handler(request, response);
    });
    const address = await listening(server);
    addresses.set(site, address);
    return { transport, close: () => closed(server) };
  };
  for (const { name, run } of siteTransportContract({ open })) test(name, run);

  const node = { site: 'one', namespace: 'default', clock: systemClock, random: systemRandom };
  const headers = { 'x-tricord-site': 'one', 'x-tricord-namespace': 'default' };

  test('messages without the secret, or that the hook refuses, are answered 401', async () => {
    const heard: string[] = [];
    const authorize = (request: { headers: Record<string, unknown> }) =>
      request.headers.authorization === 'Bearer right';
    const transport = httpTransport({ secret, authorize, addresses: {} });
    const line = transport.open(node, (text) => heard.push(text));
    const server = createServer((request, response) => void transport.handler(request, response));
    const url = await listening(server);
    const post = async (extra: Record<string, string>, to = headers) =>
      (await fetch(url, { method: 'POST', headers: { ...to, ...extra }, body: 'm' })).status;
    const right = { 'x-tricord-secret': secret, authorization: 'Bearer right' };
    expect(await post({})).toBe(401);
    expect(await post({ ...right, 'x-tricord-secret': `${secret}!` })).toBe(401);
    expect(await post({ ...right, authorization: 'Bearer wrong' })).toBe(401);
    expect(await post(right)).toBe(204);
    expect(await post(right, { ...headers, 'x-tricord-site': 'two' })).toBe(503);
    expect((await fetch(url, { headers: { ...headers, ...right } })).status).toBe(405);
    expect(heard).toEqual(['m']);
    await line.close();
    expect(await post(right)).toBe(503);
    await closed(server);
  });

  test('a body that is too large is refused, and one that was parsed before is taken', async () => {
    const heard: string[] = [];
    const transport = httpTransport({ addresses: {} });
    transport.open(node, (text) => heard.push(text));
    const answered = async (body: unknown) => {
      const response = { statusCode: 0, end: () => {} };
      const request = { method: 'POST', headers, body, async *[Symbol.asyncIterator]() {} };
      await transport.handler(request, response);
      return response.statusCode;
    };
    expect(await answered('x'.repeat(300_000))).toBe(413);
    expect(await answered({ v: 1 })).toBe(204);
    expect(await answered(Buffer.from('m'))).toBe(204);
    expect(heard).toEqual(['{"v":1}', 'm']);
  });

  test('a site that does not answer is given up after timeoutMs', async () => {
    const server = createServer(() => {});
    const url = await listening(server);
    const transport = httpTransport({ addresses: { two: url }, timeoutMs: 50 });
    const line = transport.open(node, () => {});
    await expect(line.send('two', 'm')).rejects.toThrow(/50 ms/);
    server.closeAllConnections();
    await closed(server);
  });

  test('ill-formed options are refused, and no secret is shown', () => {
    const bad = (options: object) => () => httpTransport(options as never);
    expect(bad({ addresses: { one: 'ftp://x' } })).toThrow(/addresses\['one'\]/);
    expect(bad({})).toThrow(/addresses/);
    expect(bad({ addresses: {}, secret: 'short' })).toThrow(/16 characters/);
    expect(bad({ addresses: {}, secret: 'short' })).not.toThrow(/short/);
  });
});

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function closed(server: Server): Promise<void> {
  server.closeIdleConnections();
  await new Promise((resolve) => server.close(resolve));
}
