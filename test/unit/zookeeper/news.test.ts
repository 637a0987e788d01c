import assert from 'node:assert/strict';
import { test } from 'vitest';
import { elapsedMs, instantOf } from '../../../src/core/clock.js';
import {
  type Listing,
  type PlaceContext,
  relistAfterNews,
} from '../../../src/drivers/zookeeper/lock-look.js';
import { virtualClock } from '../../../src/testing/virtual-clock.js';

const TIMEOUT_MS = 10_000;

/** A writer whose session was proven so long ago hears that the place in front of it has gone. */
async function heard(provenMsAgo: number, changes: Partial<PlaceContext['request']> = {}) {
  const clock = virtualClock();
  const validity = { since: instantOf(clock), forMs: TIMEOUT_MS };
  await clock.advance(provenMsAgo);
  const asked: string[] = [];
  const answer = (verb: string, value: unknown) => async () => {
    asked.push(verb);
    return { ok: true, value };
  };
  const ask = {
    sync: answer('sync', undefined),
    get: answer('get', { data: Buffer.alloc(0), stat: {} }),
    children: answer('children', { names: ['place-x1-0000000007'], stat: {} }),
  };
  const live = {
    ended: { aborted: false },
    isConnected: true,
    timeoutMs: TIMEOUT_MS,
    validity,
    ask,
  };
  const request = { mode: 'exclusive', ...changes };
  const context = { connection: { clock }, live, directory: '/line', request };
  const listing = (await relistAfterNews(context as unknown as PlaceContext)) as Listing;
  const leftMs = listing.validity.forMs - elapsedMs(clock, listing.validity.since);
  return { asked, leftMs, listing };
}

test('a session that was proven lately needs no other proof, and lasts no longer for it', async () => {
  const { asked, leftMs, listing } = await heard(2_000);
  assert.deepEqual(asked, ['children']);
  assert.equal(leftMs, TIMEOUT_MS - 2_000);
  assert.deepEqual(
    listing.line.places.map(({ grantId }) => grantId),
    ['place'],
  );
});

test('one that was proven a while ago is proven with the listing', async () => {
  const { asked, leftMs } = await heard(5_000);
  assert.deepEqual(asked, ['sync', 'children']);
  assert.equal(leftMs, TIMEOUT_MS);
});

test('a reader, who needs what the directory holds of that moment, asks as ever', async () => {
  const { asked } = await heard(0, { mode: 'shared' });
  assert.deepEqual(asked, ['sync', 'get', 'children']);
});
