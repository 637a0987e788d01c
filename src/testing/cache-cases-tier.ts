import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { BOUNDS, LONG_MS, newToken, type StagedCacheCase, until } from './cache-stage.js';

/** Keys that a driver could mix up, cut or misread. */
export const HOSTILE_KEYS: readonly string[] = [
  'plain',
  'with space',
  'a:b',
  'a',
  '{',
  '}',
  '{}',
  '{a}',
  '}{',
  'a}b{c',
  '%',
  '%7B',
  '*',
  '?[a-z]',
  'new\nline',
  'nul\0l',
  'tab\t',
  '\r\n',
  '🎉',
  'é',
  'e\u0301',
  '../x',
  'k'.repeat(1_024),
  '🎉'.repeat(256),
];

/** Entries: what comes back, for how long, and under which key. */
const ENTRY_CASES: readonly StagedCacheCase[] = [
  [
    'an entry comes back as it was stored, with no more time left than it was given',
    async (stage) => {
      const a = await stage.tier();
      const b = await stage.tier();
      assert.equal(await a.read('key'), undefined);
      await a.put('key', 'text "quoted"\n🎉', LONG_MS);
      const found = await b.read('key');
      assert.equal(found?.text, 'text "quoted"\n🎉');
      const remainingMs = found?.remainingMs ?? 0;
      assert.ok(remainingMs > LONG_MS / 2 && remainingMs <= LONG_MS, `${remainingMs} ms are left`);
    },
  ],
  [
    'an entry is gone when its time has passed',
    async (stage) => {
      const a = await stage.tier();
      await a.put('short', 'x', 60);
      await a.put('long', 'y', LONG_MS);
      await until('the entry to go', async () => (await a.read('short')) === undefined);
      assert.equal(await a.textOf('long'), 'y');
    },
  ],
  [
    'any well-formed key of up to 1,024 bytes is a key of its own',
    async (stage) => {
      const a = await stage.tier();
      for (const [index, key] of HOSTILE_KEYS.entries()) await a.put(key, String(index));
      for (const [index, key] of HOSTILE_KEYS.entries()) {
        assert.equal(await a.textOf(key), String(index), JSON.stringify(key));
        const lease = await a.lease(`${key.slice(0, 500)}x`, newToken());
        assert.equal(lease, 'leader', JSON.stringify(key));
      }
      for (const key of HOSTILE_KEYS) {
        await a.tier.invalidate(key, undefined, BOUNDS);
        assert.equal(await a.read(key), undefined, JSON.stringify(key));
      }
    },
  ],
  [
    'caches of different names never see the entries of each other',
    async (stage) => {
      const a = await stage.tier(':a');
      const ab = await stage.tier(':a:b');
      const glob = await stage.tier(':*');
      await a.put('b:c', 'of a');
      assert.equal(await ab.read('c'), undefined);
      await ab.put('c', 'of ab');
      assert.equal(await a.textOf('b:c'), 'of a');
      await glob.tier.clear(BOUNDS);
      await ab.tier.clear(BOUNDS);
      assert.equal(await a.textOf('b:c'), 'of a');
      assert.equal(await ab.read('c'), undefined);
      await ab.put('c', 'of ab');
      await a.tier.clear(BOUNDS);
      assert.equal(await a.read('b:c'), undefined);
      assert.equal(await ab.textOf('c'), 'of ab');
    },
  ],
  [
    'clear removes every entry of the cache and ends its leases',
    async (stage) => {
      const a = await stage.tier();
      const b = await stage.tier();
      for (const key of HOSTILE_KEYS) await a.put(key, 'x');
      const token = newToken();
      assert.equal(await a.lease('leased', token), 'leader');
      await b.tier.clear(BOUNDS);
      for (const key of HOSTILE_KEYS) assert.equal(await a.read(key), undefined);
      assert.equal(await a.fill('leased', token, 'old'), 'refused');
    },
  ],
];

/** Leases: one loads, and only what no write has overtaken is stored. */
const LEASE_CASES: readonly StagedCacheCase[] = [
  [
    'one of many wins the lease, and the others are told for how long to wait at most',
    async (stage) => {
      const tiers = await Promise.all([stage.tier(), stage.tier(), stage.tier()]);
      const replies = await Promise.all(
        tiers.concat(tiers).map(({ tier }) => tier.lease('key', newToken(), 5_000, BOUNDS)),
      );
      assert.equal(replies.filter(({ state }) => state === 'leader').length, 1);
      for (const reply of replies) {
        if (reply.state === 'leader') continue;
        assert.ok(reply.state === 'follower' && reply.remainingMs <= 5_000, reply.state);
      }
    },
  ],
  [
    'a request for a lease that is sent twice is answered the same',
    async (stage) => {
      const a = await stage.tier();
      const token = newToken();
      assert.equal(await a.lease('key', token), 'leader');
      assert.equal(await a.lease('key', newToken()), 'follower');
      assert.equal(await a.lease('key', token), 'leader');
    },
  ],
  [
    'the holder of the lease fills once, and whoever asks then finds the entry',
    async (stage) => {
      const a = await stage.tier();
      const b = await stage.tier();
      const token = newToken();
      await a.lease('key', token);
      assert.equal(await b.lease('key', newToken()), 'follower');
      assert.equal(await a.fill('key', token, 'value'), 'stored');
      assert.equal(await b.lease('key', newToken()), 'found');
      assert.equal(await b.textOf('key'), 'value');
      assert.equal(await a.fill('key', token, 'again'), 'refused');
      assert.equal(await b.textOf('key'), 'value');
    },
  ],
  ...(['invalidate', 'seize', 'hold', 'clear'] as const).map(
    (verb): StagedCacheCase => [
      `a fill whose load began before a ${verb} is refused`,
      async (stage) => {
        const reader = await stage.tier();
        const writer = await stage.tier();
        const token = newToken();
        assert.equal(await reader.lease('key', token), 'leader');
        if (verb === 'invalidate') await writer.tier.invalidate('key', undefined, BOUNDS);
        if (verb === 'seize') await writer.tier.seize('key', newToken(), LONG_MS, BOUNDS);
        if (verb === 'hold') await writer.tier.hold('key', newToken(), LONG_MS, BOUNDS);
        if (verb === 'clear') await writer.tier.clear(BOUNDS);
        assert.equal(await reader.fill('key', token, 'old'), 'refused');
        assert.equal(await reader.read('key'), undefined);
      },
    ],
  ),
  [
    'a fill is refused when another attempt has the lease since, also one of the same node',
    async (stage) => {
      const a = await stage.tier();
      const first = newToken();
      const second = newToken();
      await a.lease('key', first);
      await a.tier.invalidate('key', undefined, BOUNDS);
      assert.equal(await a.lease('key', second), 'leader');
      assert.equal(await a.fill('key', first, 'old'), 'refused');
      assert.equal(await a.tier.release('key', first, BOUNDS), 'refused');
      assert.equal(await a.fill('key', second, 'new'), 'stored');
      assert.equal(await a.textOf('key'), 'new');
    },
  ],
  [
    'a lease for a refresh is won over an entry, which stays until it is replaced',
    async (stage) => {
      const a = await stage.tier();
      const b = await stage.tier();
      const token = newToken();
      await a.put('key', 'old');
      const refresh = { ...BOUNDS, refresh: true };
      const reply = await a.tier.lease('key', token, LONG_MS, refresh);
      assert.equal(reply.state, 'leader');
      assert.equal(await b.textOf('key'), 'old');
      assert.equal(await a.fill('key', token, 'new'), 'stored');
      assert.equal(await b.textOf('key'), 'new');
      assert.equal(await a.fill('key', token, 'again'), 'refused');
    },
  ],
  ...(['invalidate', 'put', 'hold'] as const).map(
    (verb): StagedCacheCase => [
      `a refresh that a ${verb} has overtaken is refused`,
      async (stage) => {
        const reader = await stage.tier();
        const writer = await stage.tier();
        const token = newToken();
        await writer.put('key', 'old');
        const refresh = { ...BOUNDS, refresh: true };
        await reader.tier.lease('key', token, LONG_MS, refresh);
        if (verb === 'invalidate') await writer.tier.invalidate('key', undefined, BOUNDS);
        if (verb === 'put') await writer.put('key', 'newer');
        if (verb === 'hold') await writer.tier.hold('key', newToken(), LONG_MS, BOUNDS);
        assert.equal(await reader.fill('key', token, 'loaded before'), 'refused');
        assert.equal(await reader.textOf('key'), verb === 'put' ? 'newer' : undefined);
      },
    ],
  ),
  [
    'a refresh that is given up leaves the entry',
    async (stage) => {
      const a = await stage.tier();
      const token = newToken();
      await a.put('key', 'value');
      await a.tier.lease('key', token, LONG_MS, { ...BOUNDS, refresh: true });
      await a.tier.release('key', token, BOUNDS);
      assert.equal(await a.textOf('key'), 'value');
    },
  ],
  [
    'a lease ends by itself, and then its fill is refused',
    async (stage) => {
      const a = await stage.tier();
      const dead = newToken();
      await a.lease('key', dead, 60);
      await until('the lease to end', async () => (await a.lease('key', newToken())) === 'leader');
      assert.equal(await a.fill('key', dead, 'old'), 'refused');
    },
  ],
  [
    'a lease that is renewed outlives its first time; one that was lost is not renewed',
    async (stage) => {
      const a = await stage.tier();
      const token = newToken();
      const claim = { kind: 'lease', token } as const;
      await a.lease('key', token, 400);
      assert.equal(await a.tier.renew('key', claim, LONG_MS, BOUNDS), 'held');
      assert.equal(await a.lease('key', newToken()), 'follower');
      assert.equal(await a.tier.renew('key', claim, LONG_MS, BOUNDS), 'held');
      await sleep(systemClock, 500);
      assert.equal(await a.fill('key', token, 'value'), 'stored');
      assert.equal(await a.tier.renew('key', claim, LONG_MS, BOUNDS), 'lost');
      await a.tier.invalidate('key', undefined, BOUNDS);
      assert.equal(await a.lease('key', newToken()), 'leader');
      assert.equal(await a.tier.renew('key', claim, LONG_MS, BOUNDS), 'lost');
    },
  ],
  [
    'a lease that is released is free at once',
    async (stage) => {
      const a = await stage.tier();
      const token = newToken();
      await a.lease('key', token);
      assert.equal(await a.tier.release('key', token, BOUNDS), 'released');
      assert.equal(await a.tier.release('key', token, BOUNDS), 'refused');
      assert.equal(await a.lease('key', newToken()), 'leader');
    },
  ],
  ...(['fill', 'release', 'invalidate'] as const).map(
    (verb): StagedCacheCase => [
      `who follows a lease on another node wakes at its ${verb}`,
      async (stage) => {
        const leader = await stage.tier();
        const follower = await stage.tier();
        // The first wait may only open the way for wake-ups, so the case has a few.
        await until('a wake-up', async () => {
          const token = newToken();
          await leader.tier.invalidate('key', undefined, BOUNDS);
          await leader.lease('key', token);
          await follower.lease('key', newToken());
          const woken = follower.tier.changed('key', AbortSignal.timeout(500)).then(() => true);
          const patience = sleep(systemClock, 400).then(() => false);
          if (verb === 'fill') await leader.fill('key', token, 'value');
          if (verb === 'release') await leader.tier.release('key', token, BOUNDS);
          if (verb === 'invalidate') await leader.tier.invalidate('key', undefined, BOUNDS);
          return Promise.race([woken, patience]);
        });
      },
    ],
  ),
  [
    'who waits for a lease stops waiting when told to',
    async (stage) => {
      const a = await stage.tier();
      await a.lease('key', newToken());
      await a.tier.changed('key', AbortSignal.timeout(20));
      await a.tier.changed('key', AbortSignal.abort());
    },
  ],
];

/** Holds: nobody stores while a writer commits. */
const HOLD_CASES: readonly StagedCacheCase[] = [
  [
    'a held key has no entry, no leases and takes no writes, until its holder invalidates',
    async (stage) => {
      const writer = await stage.tier();
      const other = await stage.tier();
      const token = newToken();
      await writer.put('key', 'old');
      await writer.tier.hold('key', token, LONG_MS, BOUNDS);
      assert.equal(await other.read('key'), undefined);
      assert.equal(await other.lease('key', newToken()), 'held');
      assert.equal(await other.tier.seize('key', newToken(), LONG_MS, BOUNDS), 'held');
      await other.tier.invalidate('key', undefined, BOUNDS);
      assert.equal(await other.lease('key', newToken()), 'held');
      await other.tier.clear(BOUNDS);
      assert.equal(await other.lease('key', newToken()), 'held');
      await writer.tier.invalidate('key', token, BOUNDS);
      assert.equal(await other.lease('key', newToken()), 'leader');
    },
  ],
  [
    'a second hold takes the place of the first, whose end leaves it',
    async (stage) => {
      const a = await stage.tier();
      const first = newToken();
      const second = newToken();
      await a.tier.hold('key', first, LONG_MS, BOUNDS);
      await a.tier.hold('key', second, LONG_MS, BOUNDS);
      await a.tier.invalidate('key', first, BOUNDS);
      assert.equal(await a.lease('key', newToken()), 'held');
      await a.tier.invalidate('key', second, BOUNDS);
      assert.equal(await a.lease('key', newToken()), 'leader');
    },
  ],
  [
    'a hold ends by itself, later when it is renewed',
    async (stage) => {
      const a = await stage.tier();
      const token = newToken();
      const claim = { kind: 'hold', token } as const;
      await a.tier.hold('key', token, 60, BOUNDS);
      await until('the hold to end', async () => (await a.lease('key', newToken())) === 'leader');
      assert.equal(await a.tier.renew('key', claim, LONG_MS, BOUNDS), 'lost');
      await a.tier.hold('key', token, 400, BOUNDS);
      assert.equal(await a.tier.renew('key', claim, LONG_MS, BOUNDS), 'held');
      await sleep(systemClock, 500);
      assert.equal(await a.lease('key', newToken()), 'held');
    },
  ],
];

/** What the engine relies on in every tier. */
export const CACHE_TIER_CASES: readonly StagedCacheCase[] = [
  ...ENTRY_CASES,
  ...LEASE_CASES,
  ...HOLD_CASES,
];
