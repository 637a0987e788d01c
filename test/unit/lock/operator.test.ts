import { channel } from 'node:diagnostics_channel';
import { CoordinationError, type Lease, type LockEvent, type LockInspection } from 'tricord';
import { describe, expect, test } from 'vitest';
import { bench, isSettled } from './support.js';

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe('list', () => {
  test('shows what is held or waited for under a prefix, up to a limit', async () => {
    const { lock } = bench();
    const node = lock();
    for (const name of ['a:1', 'a:2', 'b:1']) await node.acquire(name);
    const names = (found: LockInspection[]) => found.map(({ resource }) => resource).toSorted();
    expect(names(await all(node.list()))).toEqual(['a:1', 'a:2', 'b:1']);
    expect(names(await all(node.list({ prefix: 'a:' })))).toEqual(['a:1', 'a:2']);
    expect(await all(node.list({ limit: 2 }))).toHaveLength(2);
    await expect(all(node.list({ limit: 0 }))).rejects.toBeInstanceOf(TypeError);
    await expect(all(node.list({ signal: AbortSignal.abort(new Error('no')) }))).rejects.toThrow(
      'no',
    );
  });
});

describe('forceRelease', () => {
  test('throws out who holds it, with the reason, and lets the next in', async () => {
    const { lock, clock } = bench();
    const [node, other, third] = [lock(), lock(), lock()];
    const lease = await node.acquire('a');
    const waits = other.acquire('a');
    expect(await third.forceRelease('a', { reason: 'deploy 7' })).toBe(1);
    await clock.settle();
    expect(lease.signal.reason).toMatchObject({ code: 'LOCK_LOST' });
    expect(String(lease.signal.reason)).toContain('deploy 7');
    expect((await waits).fencingToken > lease.fencingToken).toBe(true);
    expect(await lease.release()).toBe('lost');
    expect(await third.forceRelease('b', { reason: 'x' })).toBe(0);
    await expect(third.forceRelease('a', { reason: '' })).rejects.toBeInstanceOf(TypeError);
  });
});

describe('watch', () => {
  test('shows the state now and each change of hands, until its signal aborts', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(), lock()];
    await (await node.acquire('a')).release();
    await clock.advance(20);
    const { timerCount } = clock;
    const done = new AbortController();
    const events: LockEvent[] = [];
    const watching = (async () => {
      for await (const event of other.watch('a', { signal: done.signal })) events.push(event);
    })();
    await clock.advance(20);
    const lease = await node.acquire('a');
    await clock.advance(20);
    await lease.release();
    await clock.advance(20);
    expect(events.map(({ state }) => state)).toEqual(['free', 'held', 'free']);
    expect(events[1]).toMatchObject({ resource: 'a', holders: [{ owner: lease.owner }] });
    done.abort();
    await watching;
    expect(clock.timerCount).toBe(timerCount);
  });

  test('sees within a second what no hint told, and waits while the backend is away', async () => {
    const { lock, clock, faults } = bench();
    const [node, other] = [lock(), lock()];
    faults.watch = () => {};
    const watching = other.watch('a')[Symbol.asyncIterator]();
    expect((await watching.next()).value).toMatchObject({ state: 'free' });
    const next = watching.next();
    await node.acquire('a');
    const details = { backend: 'memory', operation: 'inspect' };
    faults.inspect = async () => {
      throw new CoordinationError('BACKEND_UNAVAILABLE', 'down', details);
    };
    await clock.advance(3_000);
    expect(await isSettled(next)).toBe(false);
    delete faults.inspect;
    await clock.advance(1_100);
    expect((await next).value).toMatchObject({ state: 'held' });
    await watching.return?.();
  });

  test('ends with CLOSED when its lock is closed', async () => {
    const { lock, clock } = bench();
    const node = lock();
    const watching = all(node.watch('a'));
    watching.catch(() => {});
    await clock.settle();
    await node.close();
    await expect(watching).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('elect', () => {
  test('one of several candidates leads; when it resigns or is closed, the next does', async () => {
    const { lock, clock } = bench();
    const leaders: string[] = [];
    const nodes = ['n1', 'n2', 'n3'].map((nodeId) => lock({ nodeId }));
    const tokens: bigint[] = [];
    const elections = nodes.map((node) =>
      node.elect('office', {
        onElected(lease) {
          leaders.push(node.nodeId);
          tokens.push(lease.fencingToken);
        },
      }),
    );
    await clock.settle();
    expect(leaders).toEqual(['n1']);
    expect(elections.map(({ isLeader }) => isLeader)).toEqual([true, false, false]);
    await elections[0]?.lease?.release();
    await clock.settle();
    expect(leaders).toEqual(['n1', 'n2']);
    await elections[1]?.close();
    await clock.settle();
    expect(leaders).toEqual(['n1', 'n2', 'n3']);
    await elections[2]?.close();
    await clock.settle();
    // The first stands again after it resigned.
    expect(leaders).toEqual(['n1', 'n2', 'n3', 'n1']);
    expect(tokens).toEqual(tokens.toSorted((a, b) => Number(a - b)));
    await elections[0]?.close();
    expect((await nodes[0]?.inspect('office'))?.holders).toEqual([]);
  });

  test('a leader that loses its office is told by the signal, and stands again when its work has ended', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(), lock()];
    const works: { lease: Lease; end: () => void }[] = [];
    const election = node.elect('office', {
      onElected: (lease) => new Promise<void>((end) => void works.push({ lease, end })),
    });
    await clock.settle();
    await other.forceRelease('office', { reason: 'test' });
    await clock.settle();
    expect([works.length, works[0]?.lease.signal.aborted, election.isLeader]).toEqual([
      1,
      true,
      false,
    ]);
    works[0]?.end();
    await clock.settle();
    expect([works.length, election.isLeader]).toEqual([2, true]);
    const closing = election.close();
    expect(works[1]?.lease.signal.aborted).toBe(true);
    await clock.settle();
    expect(await isSettled(closing)).toBe(false);
    works[1]?.end();
    await clock.runUntil(closing);
    expect(await other.tryAcquire('office')).toBeDefined();
  });

  test('a close does not wait for work that does not end, for longer than five seconds', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(), lock()];
    const election = node.elect('office', { onElected: () => new Promise(() => {}) });
    await clock.settle();
    const closing = election.close();
    await clock.advance(4_900);
    expect(await other.tryAcquire('office')).toBeUndefined();
    await clock.advance(200);
    await closing;
    expect(await other.tryAcquire('office')).toBeDefined();
  });

  test('who fails in its office gives it up, says why, and stands again later', async () => {
    const { lock, clock } = bench();
    const heard: unknown[] = [];
    const listener = (message: unknown) => void heard.push(message);
    channel('tricord:lock.resigned').subscribe(listener);
    let terms = 0;
    const failure = new Error('no database');
    const node = lock();
    const election = node.elect('office', {
      onElected() {
        terms += 1;
        if (terms === 1) throw failure;
      },
    });
    await clock.settle();
    expect(terms).toBe(1);
    await clock.advance(5_000);
    channel('tricord:lock.resigned').unsubscribe(listener);
    expect([terms, election.isLeader]).toEqual([2, true]);
    expect(heard).toMatchObject([{ resource: 'office', nodeId: node.nodeId, reason: failure }]);
    await election.close();
  });

  test('ends with its signal, and with its lock', async () => {
    const { lock, clock } = bench();
    const done = new AbortController();
    const [node, other] = [lock(), lock()];
    const first = node.elect('office', { onElected() {}, signal: done.signal });
    const second = other.elect('office', { onElected() {} });
    await clock.settle();
    done.abort();
    await first.closed;
    await clock.settle();
    expect(second.isLeader).toBe(true);
    await other.close();
    await second.closed;
    expect(await node.tryAcquire('office')).toBeDefined();
  });

  test('goes on standing while the backend is away', async () => {
    const { lock, clock, faults } = bench();
    const details = { backend: 'memory', operation: 'acquire' };
    faults.acquire = async () => {
      throw new CoordinationError('BACKEND_UNAVAILABLE', 'down', details);
    };
    const election = lock().elect('office', { onElected() {} });
    await clock.advance(20_000);
    expect(election.isLeader).toBe(false);
    delete faults.acquire;
    await clock.advance(6_000);
    expect(election.isLeader).toBe(true);
    await election.close();
  });

  test('needs something to do when elected', () => {
    const node = bench().lock();
    expect(() => node.elect('office', {} as never)).toThrow(TypeError);
    expect(() => node.elect('', { onElected() {} })).toThrow(TypeError);
  });
});
