// A price list is read a thousand times and changed once. The database checks the promise itself:
// it counts its readers, and a price that was read after the change must be the new one.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';

const database = {
  price: 249,
  readCount: 0,
  async read() {
    this.readCount += 1;
    const price = this.price;
    await sleep(5);
    return price;
  },
};

// Over several machines: tiers: [memoryCache(), redisCache({ client })].
const prices = createCache<number>({ name: 'prices', tiers: [memoryCache()], ttlMs: 60_000 });
const read = () => prices.getOrLoad('espresso machine', () => database.read());

const crowd = await Promise.all(Array.from({ length: 1_000 }, read));
assert.deepEqual(new Set(crowd), new Set([249]));
assert.equal(database.readCount, 1, 'a thousand readers who come together cause one load');

const late = read(); // begins before the change; its answer may be either price, but stays nowhere
await prices.update('espresso machine', async () => {
  database.price = 199;
});
assert.equal(await read(), 199, 'a read that begins after the update never sees the old price');
await late;
for (let i = 0; i < 3_000; i += 1) assert.equal(await read(), 199);

const { requestCount, hitRate = 0 } = prices.stats();
await prices.close();
assert(database.readCount <= 4, 'one load a crowd, and one more for the read that was overtaken');
console.log(
  `cache: ${requestCount} reads, ${database.readCount} loads, hit rate ${hitRate.toFixed(2)}`,
);
