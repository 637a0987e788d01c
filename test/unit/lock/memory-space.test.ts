/**
 * Goal: the memory driver's server keeps what every lock server must keep, in every order in which
 * its verbs can arrive, and each sent twice. Method: all short sequences of verbs of two grants.
 */

import { isCoordinationError, lockId } from 'tricord';
import { virtualClock } from 'tricord/testing';
import { describe, expect, test } from 'vitest';
import type { SpaceGrant, SpaceRequest } from '../../../src/drivers/memory/lock-resource.js';
import { type LockSpace, lockSpace } from '../../../src/drivers/memory/lock-space.js';

const TTL_MS = 1_000;

function request(grantId: string, changes?: Partial<SpaceRequest>): SpaceRequest {
  return {
    ...{ resource: 'a', owner: lockId('a', grantId), grantId, mode: 'exclusive', permits: 1 },
    ...{ capacity: 1, ttlMs: TTL_MS, tokens: 1, wait: true },
    ...{ onGranted() {}, onLost() {}, onWaiters() {} },
    ...changes,
  };
}

const holdersOf = (space: LockSpace) => space.inspect('a').holders.map(({ grantId }) => grantId);

test('acquire and renew sent twice answer the same grant; release twice answers lost, and harms nobody', () => {
  const space = lockSpace(virtualClock());
  const first = space.acquire(request('x'));
  expect(space.acquire(request('x'))).toEqual(first);
  expect(space.acquire(request('y'))).toEqual({ state: 'queued' });
  expect(space.acquire(request('y'))).toEqual({ state: 'queued' });
  expect(space.inspect('a').waiters).toHaveLength(1);
  expect(space.release('a', 'x')).toBe('released');
  expect(space.release('a', 'x')).toBe('lost');
  expect(holdersOf(space)).toEqual(['y']);
});

test('an acquire that arrives after its own cancel, or after its expiry, gets nothing', async () => {
  const clock = virtualClock();
  const space = lockSpace(clock);
  space.cancel('a', 'x', TTL_MS);
  expect(space.acquire(request('x'))).toEqual({ state: 'gone' });
  space.acquire(request('y'));
  await clock.advance(TTL_MS);
  expect(space.acquire(request('y'))).toEqual({ state: 'gone' });
  expect(holdersOf(space)).toEqual([]);
});

test('what ended is forgotten after a while: nothing is kept for ever', async () => {
  const clock = virtualClock();
  const space = lockSpace(clock);
  for (let index = 0; index < 100; index += 1) {
    const resource = `r:${index}`;
    space.acquire(request(`x${index}`, { resource }));
    if (index % 3 === 0) space.release(resource, `x${index}`);
    if (index % 3 === 1) space.cancel(resource, `x${index}`, TTL_MS);
  }
  expect(space.size).toBe(66);
  await clock.advance(2 * TTL_MS);
  expect([space.size, clock.timerCount]).toEqual([0, 0]);
});

test('an expired holder is told, once, and the next in line has the resource in the same moment', async () => {
  const clock = virtualClock();
  const space = lockSpace(clock);
  let lost = 0;
  let granted: SpaceGrant | undefined;
  const count = () => {
    lost += 1;
  };
  space.acquire(request('x', { onLost: count }));
  space.acquire(
    request('y', {
      onGranted(grant) {
        granted = grant;
      },
    }),
  );
  await clock.advance(TTL_MS - 1);
  expect([lost, granted]).toEqual([0, undefined]);
  await clock.advance(1);
  expect(lost).toBe(1);
  expect(granted).toMatchObject({ remainingMs: TTL_MS, waiters: 0 });
  expect(space.renew('a', 'x', TTL_MS)).toBeUndefined();
});

test('tokens increase over expiry, over idle times, and when the wall clock goes back', async () => {
  const clock = virtualClock();
  const space = lockSpace(clock);
  let newest = 0n;
  for (let index = 0; index < 20; index += 1) {
    const reply = space.acquire(request(`x${index}`, { tokens: (index % 4) + 1 }));
    const token = reply.state === 'granted' ? (reply.grant.fencingToken ?? 0n) : 0n;
    expect(token > newest).toBe(true);
    newest = token + BigInt(index % 4);
    if (index % 2 === 0) space.release('a', `x${index}`);
    else await clock.advance(TTL_MS);
    if (index === 9) clock.moveWall(-3_600_000);
  }
});

describe('every sequence of verbs of two grants', () => {
  interface Step {
    readonly verb: 'acquire' | 'release' | 'cancel' | 'renew' | 'expire';
    readonly id: string;
  }
  const verbs = ['acquire', 'release', 'cancel', 'renew'] as const;
  const steps: Step[] = [
    ...verbs.flatMap((verb) => ['x', 'y'].map((id) => ({ verb, id }))),
    { verb: 'expire', id: '' },
  ];

  test('never has two holders, never serves a grant that ended, never leaves a free line waiting', () => {
    const play = (sequence: readonly Step[]): void => {
      const clock = virtualClock();
      const space = lockSpace(clock);
      const ended = new Set<string>();
      for (const { verb, id } of sequence) {
        if (verb === 'acquire') space.acquire(request(id));
        if (verb === 'release' && space.release('a', id) === 'released') ended.delete(id);
        if (verb === 'cancel') {
          space.cancel('a', id, 10 * TTL_MS);
          ended.add(id);
        }
        if (verb === 'renew') space.renew('a', id, TTL_MS);
        if (verb === 'expire') {
          for (const holder of holdersOf(space)) ended.add(holder);
          clock.stall(TTL_MS);
        }
        const { holders, waiters } = space.inspect('a');
        expect(holders.length).toBeLessThanOrEqual(1);
        expect(holders.length > 0 || waiters.length === 0).toBe(true);
        // A tombstone outlives the delay of a message, which is shorter than the TTL.
        const late = verb === 'expire' ? [] : holders;
        for (const { grantId } of late) expect(ended.has(grantId)).toBe(false);
        if (verb === 'expire') ended.clear();
      }
    };
    let count = 0;
    const extend = (sequence: readonly Step[]): void => {
      play(sequence);
      count += 1;
      if (sequence.length < 4) for (const next of steps) extend([...sequence, next]);
    };
    extend([]);
    expect(count).toBe(1 + 9 + 81 + 729 + 6_561);
  });
});

describe('modes', () => {
  const ask = (space: LockSpace, grantId: string, changes: Partial<SpaceRequest>) =>
    space.acquire(request(grantId, changes)).state;

  test('readers share, a writer is alone, and nobody overtakes a waiting writer', () => {
    const space = lockSpace(virtualClock());
    const shared = { mode: 'shared', capacity: Number.POSITIVE_INFINITY } as const;
    expect(ask(space, 'r1', shared)).toBe('granted');
    expect(ask(space, 'r2', shared)).toBe('granted');
    expect(ask(space, 'w', {})).toBe('queued');
    expect(ask(space, 'r3', shared)).toBe('queued');
    space.release('a', 'r1');
    space.release('a', 'r2');
    expect(holdersOf(space)).toEqual(['w']);
    space.release('a', 'w');
    expect(holdersOf(space)).toEqual(['r3']);
  });

  test('permits are counted up to the capacity, and another capacity is refused', () => {
    const space = lockSpace(virtualClock());
    const counting = (permits: number) => ({ mode: 'counting', permits, capacity: 3 }) as const;
    expect(ask(space, 'a', counting(2))).toBe('granted');
    expect(ask(space, 'b', counting(2))).toBe('queued');
    expect(ask(space, 'c', counting(1))).toBe('queued');
    expect(() => ask(space, 'd', { mode: 'counting', capacity: 4 })).toThrow(
      expect.toSatisfy((error) => isCoordinationError(error, 'LOCK_CAPACITY_MISMATCH')),
    );
    space.release('a', 'a');
    expect(holdersOf(space)).toEqual(['b', 'c']);
  });
});
