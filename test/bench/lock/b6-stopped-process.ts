// A process that holds many leases, is stopped with SIGSTOP by its parent, and looks at each as soon
// as it runs again:   node b6-stopped-process.ts ‹url› ‹leases› ‹ttlMs›

import { Redis } from 'ioredis';
import { createLock, type Lease } from 'tricord';
import { redisLock } from 'tricord/redis';

const [url = '', leaseCount = '', ttl = ''] = process.argv.slice(2);
const ttlMs = Number(ttl);
const client = new Redis(url);
const lock = createLock({ driver: redisLock({ client }), ttlMs });
let round = 0;

interface Watched {
  readonly lease: Lease;
  readonly askedMs: number;
}

process.on('message', () => void watch());
process.once('disconnect', () => process.exit(0));
process.send?.('ready');

async function watch(): Promise<void> {
  round += 1;
  const watched = await Promise.all(
    Array.from({ length: Number(leaseCount) }, async (_, index): Promise<Watched> => {
      const askedMs = performance.now();
      return { lease: await lock.acquire(`b6:${round}:${index}`, { renew: false }), askedMs };
    }),
  );
  process.send?.('held', () => spin(watched));
}

/** Looks again and again, without giving any timer a chance, until all must have ended. */
function spin(watched: readonly Watched[]): void {
  let falseHeld = 0;
  const endMs = Math.max(...watched.map(({ askedMs }) => askedMs)) + ttlMs;
  let isLast = false;
  while (!isLast) {
    isLast = performance.now() > endMs;
    for (const { lease, askedMs } of watched) {
      const nowMs = performance.now();
      // Sampled after the stamp: held at a moment at which another may hold it.
      if (isHeld(lease) && nowMs > askedMs + ttlMs) falseHeld += 1;
    }
  }
  process.send?.({ falseHeld, checked: watched.length });
}

function isHeld(lease: Lease): boolean {
  try {
    lease.assertHeld();
    return true;
  } catch {
    return false;
  }
}
