// A process that holds a lock until it is killed: node redis-lock-holder-process.ts url resource ttlMs

import { Redis } from 'ioredis';
import { createLock } from '../../src/index.js';
import { redisLock } from '../../src/redis.js';

const [url = '', resource = '', ttlMs = ''] = process.argv.slice(2);
const lock = createLock({ driver: redisLock({ client: new Redis(url) }) });
const lease = await lock.acquire(resource, { ttlMs: Number(ttlMs) });
process.stdout.write(`held ${lease.fencingToken}\n`);
