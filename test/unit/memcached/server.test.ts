import { createServer, type Socket } from 'node:net';
import { type Clock, seededRandom, systemClock } from 'tricord';
import { expect, test } from 'vitest';
import { memcachedServer } from '../../../src/drivers/memcached/server.js';

test('a server that is closed in the moment in which it was connected keeps no connection', async () => {
  const sockets: Socket[] = [];
  const listening = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    socket.on('data', () => socket.write('VERSION 1.6.18\r\n'));
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const address = listening.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const clock: Clock = {
    ...systemClock,
    schedule(delayMs, callback, options) {
      const cancel = systemClock.schedule(delayMs, callback, options);
      return () => {
        cancel();
        // The time of the greeting is taken back when it is over.
        if (delayMs === 5_000) server.close();
      };
    },
  };
  const server = memcachedServer({
    ...{ address: { host: '127.0.0.1', port }, clock, random: seededRandom(1) },
    ...{ generationCommand: 'mg g v\r\n', encoding: 'utf8' },
  });
  const asked = server.send('read', 'mg k v\r\n', 1_000, ({ reply }) => reply.status);
  await expect(asked).rejects.toMatchObject({ code: 'CLOSED' });
  await expect.poll(() => sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
  listening.close();
});
