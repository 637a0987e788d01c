import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CuttingProxy, createProxy } from '../../servers/proxy.js';

describe('the cutting proxy', () => {
  let echo: EchoServer;
  let proxy: CuttingProxy;

  beforeEach(async () => {
    echo = await startEcho();
    proxy = await createProxy({ host: '127.0.0.1', port: echo.port });
  });

  afterEach(async () => {
    await proxy.close();
    await echo.close();
  });

  test('passes bytes both ways and ends a connection as its peer does', async () => {
    const client = await dial(proxy);
    expect(await client.say('hello')).toBe('hello');
    client.socket.end();
    await client.closed;
    expect(client.error).toBeUndefined();
    await expect.poll(() => proxy.openCount).toBe(0);
    expect(proxy.acceptedCount).toBe(1);
  });

  test('passes a large body whole', async () => {
    const client = await dial(proxy);
    const body = 'x'.repeat(5_000_000);
    client.socket.write(body);
    await expect.poll(() => client.received.length, { timeout: 5_000 }).toBe(body.length);
  });

  test('cut() resets open connections and lets new ones through', async () => {
    const client = await dial(proxy);
    await client.say('hello');
    proxy.cut();
    await client.closed;
    expect(client.error).toMatchObject({ code: 'ECONNRESET' });
    const next = await dial(proxy);
    expect(await next.say('again')).toBe('again');
  });

  test('refuse() turns new connections away, keeps open ones, and ends with pass()', async () => {
    const client = await dial(proxy);
    await client.say('hello');
    proxy.refuse();
    await expect(dial(proxy)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(await client.say('still')).toBe('hellostill');
    await proxy.pass();
    expect(await (await dial(proxy)).say('again')).toBe('again');
  });

  test('freeze() holds both directions, new connections too, until thaw()', async () => {
    const client = await dial(proxy);
    await client.say('hello');
    proxy.freeze();
    client.socket.write(' frozen');
    const late = await dial(proxy);
    late.socket.write('late');
    await sleep(50);
    expect(echo.heard).toBe('hello');
    proxy.thaw();
    await expect.poll(() => client.received).toBe('hello frozen');
    await expect.poll(() => late.received).toBe('late');
  });

  test('freeze("to-client") lets requests through and holds their answers', async () => {
    const client = await dial(proxy);
    proxy.freeze('to-client');
    client.socket.write('asked');
    await expect.poll(() => echo.heard).toBe('asked');
    await sleep(20);
    expect(client.received).toBe('');
    proxy.thaw();
    await expect.poll(() => client.received).toBe('asked');
  });

  test('dropReplies() swallows answers, and pass() cuts the connections that missed some', async () => {
    const client = await dial(proxy);
    const quiet = await dial(proxy);
    proxy.dropReplies();
    client.socket.write('asked');
    await expect.poll(() => echo.heard).toBe('asked');
    await sleep(20);
    expect(client.received).toBe('');
    await proxy.pass();
    await client.closed;
    expect(await quiet.say('whole')).toBe('whole');
  });

  test('delay() holds every chunk back, in order', async () => {
    const client = await dial(proxy);
    proxy.delay(60, 'to-client');
    const startedAt = performance.now();
    client.socket.write('one');
    await sleep(10);
    client.socket.write('two');
    await expect.poll(() => client.received, { interval: 5 }).toBe('onetwo');
    expect(performance.now() - startedAt).toBeGreaterThan(59);
  });

  test('cutAfterForward() loses the reply of the nth match alone, which the server has read', async () => {
    const client = await dial(proxy);
    const other = await dial(proxy);
    const lost = proxy.cutAfterForward('SET', 2);
    expect(await client.say('SET 1;')).toBe('SET 1;');
    expect(await other.say('GET 1;')).toBe('GET 1;');
    client.socket.write('SET 2;');
    await lost;
    await client.closed;
    expect(client.received).toBe('SET 1;');
    expect(client.error).toMatchObject({ code: 'ECONNRESET' });
    expect(echo.heard).toContain('SET 2;');
    expect(await other.say('SET 3;')).toBe('GET 1;SET 3;');
  });

  test('cutAfterForward() finds bytes that span two chunks', async () => {
    const client = await dial(proxy);
    await client.say('SE');
    const lost = proxy.cutAfterForward('SET');
    client.socket.write('T 1;');
    await lost;
    await client.closed;
    expect(echo.heard).toBe('SET 1;');
  });
});

interface EchoServer {
  readonly port: number;
  readonly heard: string;
  close(): Promise<void>;
}

async function startEcho(): Promise<EchoServer> {
  let heard = '';
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      heard += chunk.toString();
      socket.write(chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get heard() {
      return heard;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Caller {
  readonly socket: Socket;
  readonly received: string;
  readonly error: Error | undefined;
  readonly closed: Promise<void>;
  /** Sends text and answers everything received once as much again has come back. */
  say(text: string): Promise<string>;
}

async function dial({ host, port }: CuttingProxy): Promise<Caller> {
  const socket = connect({ host, port });
  let received = '';
  let error: Error | undefined;
  socket.on('data', (chunk) => {
    received += chunk.toString();
  });
  await once(socket, 'connect');
  socket.on('error', (reason) => {
    error = reason;
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
  });
  return {
    socket,
    closed,
    get received() {
      return received;
    },
    get error() {
      return error;
    },
    async say(text) {
      const whole = received.length + text.length;
      socket.write(text);
      await expect.poll(() => received.length).toBe(whole);
      return received;
    },
  };
}
