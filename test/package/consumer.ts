/**
 * A user's program, against the packed package and ioredis alone. It is only type-checked, as strictly
 * as TypeScript can, once as an ECMAScript module and once as CommonJS.
 */
export const CONSUMER = `
import { Redis } from 'ioredis';
import { createCache, createLock, createTransactionCoordinator, isCoordinationError, lockId } from 'tricord';
import { memoryCache, memoryParticipant, memoryTransactions } from 'tricord/memory';
import { redisCache, redisLock, redisTransactions } from 'tricord/redis';

interface Product { readonly name: string; readonly stock: number }

export async function useTricord(signal: AbortSignal): Promise<string> {
  const client = new Redis();
  const nodeId: string = 'orders-7';
  const id: string = lockId('sku:42', nodeId);

  const lock = createLock({ driver: redisLock({ client }), nodeId });
  const held = await lock.withLock('sku:42', { ttlMs: 10_000, waitMs: 2_000, signal }, async (lease) => {
    const token: bigint = lease.fencingToken;
    lease.assertHeld();
    return String(token);
  });
  const maybe = await lock.tryAcquire('sku:42');
  if (maybe !== undefined) await maybe.release();

  const stock = memoryParticipant({ name: 'stock' });
  const coordinator = createTransactionCoordinator({
    log: redisTransactions({ client }), nodeId, participants: [stock],
  });
  const outcome = await coordinator.run({ resourceId: 'order:1', timeoutMs: 5_000 }, async (tx) => {
    await tx.enlist(stock);
    return 7;
  });
  const told = outcome.state === 'committed' ? outcome.value.toFixed() : outcome.state;
  await coordinator.close();
  void memoryTransactions;

  const catalog = createCache<Product>({
    name: 'catalog', tiers: [memoryCache({ entriesMax: 10_000 }), redisCache({ client })], ttlMs: 60_000,
  });
  const product = await catalog.getOrLoad('sku:42', async () => ({ name: 'lamp', stock: 3 }));
  const rate: number | undefined = catalog.stats().hitRate;
  try {
    await lock.close();
  } catch (error) {
    if (!isCoordinationError(error)) throw error;
    return error.code;
  }
  return [id, held, told, product?.name, rate?.toFixed(2)].join(' ');
}
`;
