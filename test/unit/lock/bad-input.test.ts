import { createLock } from 'tricord';
import { memoryLock } from 'tricord/memory';
import { describe, expect, test } from 'vitest';
import { bench } from './support.js';

const never: AbortSignal = new AbortController().signal;
const invalid = { name: 'TypeError', code: 'INVALID_ARGUMENT' };

describe('refused before anything is sent, with the value and what to pass', () => {
  const resources: [unknown, RegExp][] = [
    ['', /resource is ''; pass a non-empty/],
    [undefined, /resource is undefined/],
    [42, /resource is 42/],
    ['x'.repeat(1_025), /at most 1024 UTF-8 bytes; this one has 1025/],
    ['é'.repeat(513), /this one has 1026/],
    ['a\uD800b', /lone surrogate/],
  ];
  for (const [resource, message] of resources) {
    test(`the resource ${String(resource).slice(0, 8)} (${message.source.slice(0, 30)})`, async () => {
      const { lock, calls } = bench();
      const node = lock();
      const given = resource as string;
      await expect(node.acquire(given)).rejects.toThrow(message);
      await expect(node.tryAcquire(given)).rejects.toMatchObject(invalid);
      await expect(node.withLock(given, () => {})).rejects.toMatchObject(invalid);
      await expect(node.inspect(given)).rejects.toMatchObject(invalid);
      expect(calls).toEqual({});
    });
  }

  const options: [string, object][] = [
    ['ttlMs', { ttlMs: 0 }],
    ['ttlMs', { ttlMs: -1 }],
    ['ttlMs', { ttlMs: Number.NaN }],
    ['ttlMs', { ttlMs: Number.POSITIVE_INFINITY }],
    ['ttlMs', { ttlMs: '1000' }],
    ['waitMs', { waitMs: Number.NaN }],
    ['waitMs', { waitMs: -1 }],
    ['waitMs', { waitMs: Number.POSITIVE_INFINITY }],
    ['waitMs', { waitMs: Number.NaN, signal: never }],
    ['waitMs', { waitMs: '5' }],
    ['maxHoldMs', { maxHoldMs: 0 }],
    ['maxHoldMs', { maxHoldMs: Number.NaN }],
    ['renew', { renew: 'no' }],
    ['reentry', { reentry: 'reentrant' }],
    ['within', { within: {} }],
    ['signal', { signal: {} }],
    ['reentrant', { reentrant: 1 }],
    ['retainMs', { retainMs: -1 }],
    ['retainMs', { retainMs: Number.POSITIVE_INFINITY }],
    ['lockDelayMs', { lockDelayMs: Number.NaN }],
    ['mode', { mode: 'write' }],
    ['capacity', { capacity: 0 }],
    ['capacity', { capacity: 1.5 }],
    ['capacity', { capacity: 1_000_001 }],
    ['capacity', { mode: 'counting' }],
    ['capacity', { mode: 'shared', capacity: 2 }],
    ['permits', { permits: 1 }],
    ['permits', { capacity: 2, permits: 3 }],
    ['permits', { capacity: 2, permits: 0 }],
    ['options', null as unknown as object],
  ];
  for (const [argument, given] of options) {
    test(`${argument} of ${JSON.stringify(given, (_, value) => value?.toString?.() ?? value)}`, async () => {
      const { lock, calls } = bench();
      await expect(lock().acquire('a', given)).rejects.toMatchObject({ ...invalid, argument });
      expect(calls).toEqual({});
    });
  }

  test('a wait without an end needs a signal', async () => {
    const { lock } = bench();
    const waitMs = Number.POSITIVE_INFINITY;
    await expect(lock().acquire('a', { waitMs })).rejects.toThrow('pass a signal with it');
    await expect(lock().acquire('a', { waitMs, signal: never })).resolves.toBeDefined();
  });

  test('a signal that was aborted before: its reason, and nothing is sent', async () => {
    const { lock, calls } = bench();
    const reason = new Error('before');
    const signal = AbortSignal.abort(reason);
    const node = lock();
    await expect(node.acquire('a', { signal })).rejects.toBe(reason);
    await expect(node.tryAcquire('a', { signal })).rejects.toBe(reason);
    await expect(node.withLock('a', { signal }, () => {})).rejects.toBe(reason);
    await expect(node.inspect('a', { signal })).rejects.toBe(reason);
    await expect(node.guarantees({ signal })).rejects.toBe(reason);
    expect(calls).toEqual({});
  });

  test('a body that is not a function', async () => {
    const { lock, calls } = bench();
    const body = undefined as unknown as () => void;
    await expect(lock().withLock('a', {}, body)).rejects.toMatchObject(invalid);
    expect(calls).toEqual({});
  });

  test('an onLost that is neither', async () => {
    const { lock, calls } = bench();
    const onLost = 'throw' as 'reject';
    await expect(lock().withLock('a', { onLost }, () => {})).rejects.toMatchObject(invalid);
    expect(calls).toEqual({});
  });

  test('a drain that is no time', async () => {
    const { lock } = bench();
    await expect(lock().close({ drainMs: -1 })).rejects.toMatchObject(invalid);
    await expect(lock().close({ drainMs: Number.NaN })).rejects.toMatchObject(invalid);
  });
});

describe('createLock refuses', () => {
  const driver = memoryLock();
  const bad: [string, object][] = [
    ['driver', {}],
    ['driver', { driver: () => driver }],
    ['nodeId', { driver, nodeId: '' }],
    ['nodeId', { driver, nodeId: 'n'.repeat(257) }],
    ['nodeId', { driver, nodeId: '\uDC00' }],
    ['ttlMs', { driver, ttlMs: 0 }],
    ['waitMs', { driver, waitMs: Number.NaN }],
    ['waitMs', { driver, waitMs: Number.POSITIVE_INFINITY }],
    ['localHandoffs', { driver, localHandoffs: 1.5 }],
    ['localHandoffs', { driver, localHandoffs: -1 }],
  ];
  for (const [argument, options] of bad) {
    test(`a bad ${argument}: ${JSON.stringify(options).slice(0, 50)}`, () => {
      expect(() => createLock(options as never)).toThrow(
        expect.objectContaining({ ...invalid, argument }),
      );
    });
  }

  test('nothing else: a node id of its own is made of host, process and chance', () => {
    const [one, other] = [createLock({ driver }), createLock({ driver })];
    expect(one.nodeId).toContain(`-${process.pid}-`);
    expect(one.nodeId).not.toBe(other.nodeId);
    expect(() => createLock(undefined as never)).toThrow(TypeError);
  });
});
