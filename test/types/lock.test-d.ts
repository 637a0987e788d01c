import {
  type CountingLease,
  createLock,
  type Lease,
  type LeaseSet,
  type Lock,
  type LockEvent,
  type LockInspection,
  type LockStats,
  lockId,
  parseLockId,
  type SharedLease,
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
    // @ts-expect-error a driver is needed.
    createLock({ nodeId: 'x' });
  });
});

describe('modes', () => {
  test('the options say which lease comes', () => {
    expectTypeOf(lock.acquire('a', { mode: 'exclusive' })).resolves.toEqualTypeOf<Lease>();
    expectTypeOf(lock.acquire('a', { mode: 'shared' })).resolves.toEqualTypeOf<SharedLease>();
    expectTypeOf(lock.acquire('a', { capacity: 8 })).resolves.toEqualTypeOf<CountingLease>();
    expectTypeOf(lock.tryAcquire('a', { mode: 'shared', ttlMs: 1 })).resolves.toEqualTypeOf<
      SharedLease | undefined
    >();
    expectTypeOf(
      lock.withLock('a', { capacity: 8, permits: 2 }, (lease) => lease.permits),
    ).resolves.toEqualTypeOf<number>();
    expectTypeOf(lock.acquire(['a', 'b'])).resolves.toEqualTypeOf<LeaseSet>();
    expectTypeOf(lock.acquire(['a', 'b'], { mode: 'shared' })).resolves.toEqualTypeOf<
      LeaseSet<SharedLease>
    >();
    expectTypeOf(
      lock.withLock(['a'], (leases) => leases.get('a').fencingToken),
    ).resolves.toEqualTypeOf<bigint>();
  });

  test('a counting lease has no fencing token, and only a writer can be made a reader', async () => {
    expectTypeOf<CountingLease>().not.toHaveProperty('fencingToken');
    expectTypeOf<SharedLease>().not.toHaveProperty('downgrade');
    expectTypeOf<Lease['downgrade']>().returns.resolves.toEqualTypeOf<SharedLease>();
    // @ts-expect-error permits are counted up to a capacity.
    void lock.acquire('a', { permits: 2 });
    // @ts-expect-error a reader counts nothing.
    void lock.acquire('a', { mode: 'shared', capacity: 8 });
    // @ts-expect-error whoever is thrown out wants to know why.
    void lock.forceRelease('a', {});
  });

  test('an election hands the lease of the office to onElected', () => {
    lock.elect('office', { onElected: (lease) => expectTypeOf(lease).toEqualTypeOf<Lease>() });
    expectTypeOf(lock.watch('a')).toExtend<AsyncIterable<LockEvent>>();
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
