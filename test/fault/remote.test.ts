// Transactions of which another process does a part: whoever is killed, at whatever step, the order is
// in both databases or in none, every prepared branch ends, and nothing stays in the store.

import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { measured } from '../servers/shared.js';
import { type RemoteStage, remoteStage } from './remote-stage.js';

/** Steps at which the caller dies, and in how many databases the order is then. */
const CALLER_STEPS = {
  redis: [
    ['create sent', 'none'],
    ['before decide', 'none'],
    ['decide sent', 'any'],
    ['after decide', 'both'],
    ['after end', 'both'],
  ],
  zookeeper: [
    ['after create', 'none'],
    ['after prepare', 'none'],
    ['end sent', 'both'],
    ['before acknowledge', 'both'],
  ],
} as const;

/** Steps at which a server dies; the call is done by another one, or finished by it. */
const SERVER_STEPS = {
  redis: ['after take', 'prepare sent', 'after prepare', 'vote sent', 'before commit'],
  zookeeper: ['after prepare', 'after vote', 'commit sent', 'remove sent'],
} as const;

describe.each(['redis', 'zookeeper'] as const)('remote participants [%s] [postgresql]', (kind) => {
  let stage: RemoteStage;
  let lastId = 0;
  const nextId = () => {
    lastId += 1;
    return lastId;
  };
  beforeAll(async () => {
    stage = await remoteStage(kind);
  }, 60_000);
  afterAll(() => stage?.[Symbol.asyncDispose]());

  test('a killed caller: its call ends as it had decided, whatever step it had reached', async () => {
    // One server for all of them, and a coordinator of the same database that recovers its part.
    await using _served = await stage.serve('calls');
    await using _recoverer = await stage.caller('calls');
    const owners = CALLER_STEPS[kind].map(([point, expected]) => {
      const id = nextId();
      const config = { id, point, signal: 'SIGKILL', service: 'calls', role: 'caller' } as const;
      return { id, point, expected, owner: stage.process(config) };
    });
    for (const { owner, point } of owners) assert.equal(await owner.exited, 'SIGKILL', point);
    const killedAt = performance.now();
    await stage.quiet(['calls']);
    measured(`${kind}: clean ${(performance.now() - killedAt).toFixed(0)} ms after the last kill`);
    for (const { id, point, expected } of owners) {
      const [here, there] = await stage.where(id);
      assert.equal(here, there, `killed ${point}: mixed`);
      if (expected !== 'any') assert.equal(here, expected === 'both', `killed ${point}`);
    }
  }, 60_000);

  test('a killed server: another one does the call once, or finishes what was decided', async () => {
    await using recoverer = await stage.caller('none');
    const runs = SERVER_STEPS[kind].map(async (point) => {
      const id = nextId();
      const service = `at-${point.replaceAll(' ', '-')}`;
      const first = stage.process({ id, point, signal: 'SIGKILL', service, role: 'server' });
      assert.equal(await first.line(), 'ready');
      const caller = await stage.caller(service);
      const placing = caller.place(id, 40_000);
      assert.equal(await first.exited, 'SIGKILL', point);
      const second = await stage.serve(service);
      const { state } = await placing;
      return { id, point, service, state, caller, second };
    });
    const ended = await Promise.all(runs);
    await stage.quiet(ended.map(({ service }) => service));
    for (const { id, point, state } of ended) {
      assert.equal(state, 'committed', `server killed ${point}`);
      assert.deepEqual(await stage.where(id), [true, true], `server killed ${point}`);
    }
    for (const { caller, second } of ended) {
      await caller[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
    }
    assert.equal(recoverer.coordinator.stats().contradictedCount, 0);
  }, 90_000);

  test('a frozen server wakes up when another has done its call: its own attempt is rolled back', async () => {
    const id = nextId();
    const service = 'frozen';
    const point = 'after prepare';
    const first = stage.process({ id, point, signal: 'SIGSTOP', service, role: 'server' });
    assert.equal(await first.line(), 'ready');
    await using caller = await stage.caller(service);
    const placing = caller.place(id, 40_000);
    await using _second = await stage.serve(service);
    assert.equal((await placing).state, 'committed');
    first.child.kill('SIGCONT');
    await stage.quiet([service]);
    assert.deepEqual(await stage.where(id), [true, true]);
  }, 60_000);
});
