import { Redis } from 'ioredis';
import { createCache } from '../../src/index.js';
import { redisCache } from '../../src/redis.js';

// A node that waits for another node's load, so that it listens for wake-ups, and is then closed.
const client = new Redis(String(process.argv[2]));
const tiers = [redisCache({ client })];
const options = { name: 'exit', tiers, ttlMs: 60_000, timeoutMs: 2_000, hardTimeoutMs: 300 };
const [leader, follower] = [createCache<string>(options), createCache<string>(options)];

const never = (): Promise<string> => new Promise(() => {});
const led = leader.getOrLoad('key', never).catch(() => {});
await new Promise((resolve) => setTimeout(resolve, 100));
const followed = follower.getOrLoad('key', never).catch(() => {});
await new Promise((resolve) => setTimeout(resolve, 200));
console.log('following');
await new Promise((resolve) => setTimeout(resolve, 300));
await Promise.all([leader.close({ drainMs: 500 }), follower.close({ drainMs: 500 })]);
await Promise.all([led, followed]);
client.disconnect();
console.log('closed');
