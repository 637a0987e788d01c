// Servers of remote participants that are cut off, frozen or left by their store: before the vote,
// after it and after the decision. Whatever they miss, both databases agree and nothing stays behind.

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { eventually } from '../integration/postgres-stage.js';
import { type RemoteStage, remoteStage } from './remote-stage.js';

/** Longer than a silent node counts as alive, on either store. */
const SILENT_MS = 3_000;
const TIMEOUT_MS = 40_000;

describe.each(['redis', 'zookeeper'] as const)('a network that fails [%s] [postgresql]', (kind) => {
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

  /** A call whose server, a process on a proxy of the store, stops itself at a point. */
  async function stoppedAt(name: string, point: string) {
    const id = nextId();
    const service = `${name}-${point.replaceAll(' ', '-')}`;
    const proxy = await stage.server.proxy();
    const through = { kind, url: proxy.url };
    const facts = { id, point, service, through } as const;
    const server = stage.process({ ...facts, role: 'server', signal: 'SIGSTOP' });
    assert.equal(await server.line(), 'ready');
    const caller = await stage.caller(service);
    const placing = caller.place(id, TIMEOUT_MS, 'decided');
    placing.catch(() => {});
    await server.stopped();
    return {
      ...{ id, point, service, server, placing },
      proxy,
      cutOff() {
        proxy.refuse();
        proxy.cut();
      },
      heal: () => proxy.pass(),
      async [Symbol.asyncDispose]() {
        server.child.kill('SIGKILL');
        await caller[Symbol.asyncDispose]();
        await proxy.close();
      },
    };
  }

  async function agreed({ id, service, point }: { id: number; service: string; point: string }) {
    await stage.quiet([service]);
    const [here, there] = await stage.where(id);
    assert.equal(here, there, `${point}: mixed`);
    return here;
  }

  test('cut off before its vote, its call goes to another, and its own work is rolled back', async () => {
    await using cut = await stoppedAt('cut', 'before vote');
    cut.cutOff();
    cut.server.child.kill('SIGCONT');
    await using _other = await stage.serve(cut.service);
    assert.equal((await cut.placing).state, 'committed');
    await cut.heal();
    assert.equal(await agreed(cut), true);
  });

  test('cut off after its vote, it decides nothing alone; after the decision, it carries it out', async () => {
    await using voted = await stoppedAt('voted', 'before vote');
    await using told = await stoppedAt('told', 'before commit');
    // Its vote arrives; it hears neither that nor of the decision.
    voted.proxy.freeze('to-client');
    told.cutOff();
    for (const cut of [voted, told]) cut.server.child.kill('SIGCONT');
    const outcomes = await Promise.all([voted.placing, told.placing]);
    for (const { state } of outcomes) assert.equal(state, 'committed');
    voted.cutOff();
    await eventually(async () => (await stage.where(told.id))[1] === true, TIMEOUT_MS);
    assert.equal(await stage.prepared(), 1, 'it must not decide alone');
    for (const cut of [voted, told]) await cut.heal();
    for (const cut of [voted, told]) assert.equal(await agreed(cut), true, cut.point);
  });

  test('frozen at any step and not replaced, it goes on when it wakes', async () => {
    const points = ['after take', 'after vote', 'before commit', 'before remove'];
    const runs = points.map(async (point) => {
      await using frozen = await stoppedAt('frozen', point);
      await delay(SILENT_MS);
      frozen.server.child.kill('SIGCONT');
      assert.equal((await frozen.placing).state, 'committed', point);
      assert.equal(await agreed(frozen), true, point);
    });
    await Promise.all(runs);
  });

  test('frozen before its vote until its caller has given up, it rolls back when it wakes', async () => {
    const id = nextId();
    const facts = { id, point: 'before vote', service: 'given-up' } as const;
    const server = stage.process({ ...facts, role: 'server', signal: 'SIGSTOP' });
    assert.equal(await server.line(), 'ready');
    await using caller = await stage.caller(facts.service);
    const outcome = await caller.place(id, 2_000);
    assert.equal(outcome.state, 'aborted');
    await server.stopped();
    server.child.kill('SIGCONT');
    assert.equal(await agreed(facts), false);
    server.child.kill('SIGKILL');
  });

  test('a store that is killed and comes back with its disk: every call ends, in agreement', async () => {
    const serverPoints = ['after take', 'before vote', 'after vote', 'before commit'];
    const callerPoints = ['after create', 'before decide', 'after decide', 'after end'];
    await using _recoverer = await stage.caller('none');
    await using _served = await stage.serve('kept');
    const servers = await Promise.all(serverPoints.map((point) => stoppedAt('killed', point)));
    const callers = callerPoints.map((point) => {
      const id = nextId();
      const facts = { id, point, service: 'kept' } as const;
      return { ...facts, process: stage.process({ ...facts, role: 'caller', signal: 'SIGSTOP' }) };
    });
    for (const { process } of callers) await process.stopped();
    await stage.server.kill();
    for (const { server } of servers) server.child.kill('SIGCONT');
    for (const { process } of callers) process.child.kill('SIGCONT');
    await delay(500);
    await stage.server.restart();
    for (const run of servers) {
      const { state } = await run.placing;
      assert.notEqual(state, 'in-doubt', `server ${run.point}`);
      assert.equal(await agreed(run), state === 'committed', `server ${run.point}`);
    }
    for (const run of callers) {
      const line = await run.process.line();
      const isThere = await agreed(run);
      if (line === 'committed') assert.equal(isThere, true, `caller ${run.point}`);
      if (line.startsWith('aborted')) assert.equal(isThere, false, `caller ${run.point}`);
    }
    for (const run of servers) await run[Symbol.asyncDispose]();
  }, 90_000);
});
