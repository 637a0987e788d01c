// A process that retains a lock which no task of it uses: node redis-lock-retainer-process.ts url resource ttlMs

import { Redis } from 'ioredis';
import { createLock } from '../../src/index.js';
import { redisLock } from '../../src/redis.js';

const [url = '', resource = '', ttlMs = ''] = process.argv.slice(2);
const lock = createLock({ driver: redisLock({ client: new Redis(url) }) });
const lease = await lock.acquire(resource, { ttlMs: Number(ttlMs), retainMs: 600_000 });
await lease.release();
process.stdout.write('retained\n');
