import {
  createLock,
  type Lease,
  type Lock,
  type LockInspection,
  type LockStats,
  lockId,
  parseLockId,
} from 'tricord';
import { memoryLock } from 'tricord/memory';
import { describe, expectTypeOf, test } from 'vitest';

const lock = createLock({ driver: memoryLock(), nodeId: 'orders-7' });

describe('Lock', () => {
  test('acquire answers a lease, tryAcquire perhaps one', () => {
    expectTypeOf(lock).toEqualTypeOf<Lock>();
    expectTypeOf(lock.acquire('sku:42')).resolves.toEqualTypeOf<Lease>();
    expectTypeOf(lock.tryAcquire('sku:42')).resolves.toEqualTypeOf<Lease | undefined>();
    expectTypeOf(lock.inspect('sku:42')).resolves.toEqualTypeOf<LockInspection>();
    expectTypeOf(lock.stats()).toEqualTypeOf<LockStats>();
  });

  test('withLock answers what its body does, with options and without', () => {
    expectTypeOf(lock.withLock('a', async () => 1)).resolves.toEqualTypeOf<number>();
    expectTypeOf(lock.withLock('a', () => 'x')).resolves.toEqualTypeOf<string>();
    expectTypeOf(
      lock.withLock('a', { ttlMs: 1_000, onLost: 'reject' }, (lease) => lease.fencingToken),
    ).resolves.toEqualTypeOf<bigint>();
  });

  test('options may be undefined, and unknown ones are refused', () => {
    void lock.acquire('a', { ttlMs: undefined, waitMs: undefined, signal: undefined });
    // @ts-expect-error milliseconds carry their unit.
    void lock.acquire('a', { ttl: 1_000 });
    // @ts-expect-error a try does not wait.
    void lock.tryAcquire('a', { waitMs: 1_000 });
    // @ts-expect-error what is not delivered yet is not accepted.
    void lock.acquire('a', { mode: 'shared' });
    // @ts-expect-error a driver is needed.
    createLock({ nodeId: 'x' });
  });
});

describe('Lease', () => {
  test('carries a token, a signal, and ends by itself in await using', async () => {
    expectTypeOf<Lease['fencingToken']>().toEqualTypeOf<bigint>();
    expectTypeOf<Lease['signal']>().toEqualTypeOf<AbortSignal>();
    expectTypeOf<Lease>().toExtend<AsyncDisposable>();
    expectTypeOf<ReturnType<Lease['release']>>().resolves.toEqualTypeOf<'released' | 'lost'>();
    await using lease = await lock.acquire('a');
    // @ts-expect-error a lease is not changed by its holder.
    lease.fencingToken = 1n;
  });
});

test('a lock id is a branded string, and parses back to its pair', () => {
  expectTypeOf(lockId('r', 'n')).toExtend<string>();
  expectTypeOf<string>().not.toExtend<ReturnType<typeof lockId>>();
  expectTypeOf(parseLockId('x')).toEqualTypeOf<{
    readonly resourceId: string;
    readonly nodeId: string;
  }>();
});
