// Sessions whose connection breaks at the worst moment for the client's library.

import assert from 'node:assert/strict';
import { zookeeper } from 'tricord/zookeeper';
import { describe, test } from 'vitest';
import { CONNECTION } from '../../src/drivers/zookeeper/session.js';
import { sessionIdOf, until } from '../integration/zookeeper-stage.js';
import { startZookeeper } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const SESSION_TIMEOUT_MS = 4_000;
const busy = (ms: number): void => {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
};

describe('a session on a server of its own [zookeeper]', () => {
  test('a send to a server that was just killed costs the connection, not the process', async () => {
    await using server = await startZookeeper({ tickTimeMs: 200 });
    const session = zookeeper({ servers: server.url, sessionTimeoutMs: SESSION_TIMEOUT_MS });
    for (let round = 0; round < 3; round += 1) {
      const live = await session[CONNECTION].current('begin');
      await live.ask.sync('/');
      // After the callbacks of this turn: the library waits for its socket to be watched again.
      await new Promise((resolve) => setImmediate(resolve));
      const killed = server.kill();
      const asked = [];
      // Its end is on its way, and this turn does not end before a send has failed.
      while (live.isConnected && asked.length < 100) {
        busy(20);
        asked.push(live.ask.sync('/'));
      }
      assert.equal(live.isConnected, false, 'it is known in the same turn');
      for (const answer of await Promise.all(asked)) {
        assert.ok(!answer.ok && ['unknown', 'unsent'].includes(answer.kind));
      }
      await killed;
      await server.restart();
      const backMs = performance.now();
      const again = await session[CONNECTION].current('go on');
      measured(
        `killed between two sends: back ${(performance.now() - backMs).toFixed(0)} ms later`,
      );
      assert.ok((await again.ask.sync('/')).ok);
    }
    await session.close();
  });

  test('a connection that breaks while many call it comes back as the same session', async () => {
    await using server = await startZookeeper({ tickTimeMs: 200 });
    await using proxy = await server.proxy();
    const session = zookeeper({ servers: proxy.url, sessionTimeoutMs: SESSION_TIMEOUT_MS });
    const id = await sessionIdOf(session);
    let isOver = false;
    let answerCount = 0;
    const caller = async (): Promise<void> => {
      while (!isOver) {
        const { ask } = await session[CONNECTION].current('call');
        if ((await ask.exists('/')).ok) answerCount += 1;
      }
    };
    const calling = Promise.all(Array.from({ length: 16 }, caller));
    for (let cut = 0; cut < 20; cut += 1) {
      const before = answerCount;
      proxy.cut();
      await until('calls are answered again', () => answerCount > before + 50);
    }
    isOver = true;
    await calling;
    assert.equal(await sessionIdOf(session), id);
    await session.close();
  });
});
