import assert from 'node:assert/strict';
import type { Cache, CacheOptions } from '../cache/cache.js';
import { createCache } from '../cache/create-cache.js';
import type { CacheDriver, LeaseTier, LocalValue, TierEntry } from '../cache/driver.js';
import { sleep } from '../core/abort.js';
import { elapsedMs, instantOf, systemClock } from '../core/clock.js';
import { systemRandom } from '../core/random.js';

/** One process's driver, as the subject of a contract opens it. */
export interface CacheContender {
  /** The driver under test. */
  readonly driver: CacheDriver;
  /** Lets go of what was opened for it; called after the tier was closed. */
  close?(): Promise<void>;
}

/** What `cacheDriverContract` is run on. */
export interface CacheDriverSubject {
  /**
   * Opens the driver the way one more process would: with its own client, on the same backend. A
   * driver inside one process answers the same driver each time.
   */
  open(): CacheContender | Promise<CacheContender>;
  /**
   * Memory to put before the driver, for the levels of consistency that need it:
   * `() => memoryCache()`, a new one each time. Without it those cases are left out.
   */
  near?(): CacheDriver;
  /** Begins each cache's name, so that runs on one server do not meet. */
  readonly namePrefix: string;
}

/** A tier with what the cases do with it, whichever kind of value it keeps. */
export interface StagedTier {
  readonly tier: LeaseTier<unknown>;
  /** A text as this tier keeps it. */
  stored(text: string): unknown;
  read(key: string): Promise<{ text: string; remainingMs: number | undefined } | undefined>;
  /** The text alone. */
  textOf(key: string): Promise<string | undefined>;
  lease(key: string, token: string, leaseMs?: number): Promise<string>;
  fill(key: string, token: string, text: string, ttlMs?: number): Promise<string>;
  /** Puts an entry as a writer does. */
  put(key: string, text: string, ttlMs?: number): Promise<void>;
}

/** Where one case plays: a cache name of its own, and everything let go at the end. */
export interface CacheStage {
  /** One more process with this case's cache, or with another one. */
  tier(nameSuffix?: string): Promise<StagedTier>;
  /** One more process with a whole cache: of the driver's tier, with memory before it if `isTiered`. */
  cache<Value>(
    options?: Partial<CacheOptions<Value>>,
    tiering?: { readonly isTiered: boolean },
  ): Promise<Cache<Value>>;
}

/** A sentence of the contract and how it is checked on a stage. */
export type StagedCacheCase = readonly [name: string, play: (stage: CacheStage) => Promise<void>];

/** Longest that a call may take on a busy machine. */
export const BOUNDS = { timeoutMs: 10_000 } as const;
/** Longer than any case takes. */
export const LONG_MS = 60_000;

/** Runs one case on a stage of its own and clears it away afterwards, also when the case fails. */
export async function onCacheStage(
  subject: CacheDriverSubject,
  play: (stage: CacheStage) => Promise<void>,
): Promise<void> {
  const cleanups: (() => Promise<void>)[] = [];
  const name = `${subject.namePrefix}${systemRandom.token(8)}`;
  const driver = async (): Promise<CacheDriver> => {
    const opened = await subject.open();
    cleanups.push(async () => opened.close?.());
    return opened.driver;
  };
  const stage: CacheStage = {
    async tier(nameSuffix = '') {
      const node = { name: name + nameSuffix, clock: systemClock, random: systemRandom };
      const opened = (await driver()).open(node);
      cleanups.push(async () => {
        await opened.clear(BOUNDS);
        await opened.close();
      });
      return opened.scope === 'shared'
        ? staged(opened, (text) => text, String)
        : staged<LocalValue>(
            opened,
            (value) => ({ value, isShareable: true, sliding: slidingOf(value) }),
            ({ value }) => String(value),
          );
    },
    async cache<Value>(
      options?: Partial<CacheOptions<Value>>,
      tiering?: { readonly isTiered: boolean },
    ) {
      const near = tiering?.isTiered ? subject.near?.() : undefined;
      const tiers = [...(near === undefined ? [] : [near]), await driver()];
      const cache = createCache<Value>({
        name,
        tiers,
        ttlMs: LONG_MS,
        timeoutMs: 10_000,
        ...options,
      });
      cleanups.push(async () => {
        await cache.clear();
        await cache.close();
      });
      return cache as never;
    },
  };
  try {
    await play(stage);
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}

/** What a text says of how hits extend it, as notes of an entry do. */
function slidingOf(text: string): LocalValue['sliding'] {
  const [, ttlMs, endMs] = /"s":\[(\d+),(\d+)\]/.exec(text) ?? [];
  return ttlMs === undefined ? undefined : { ttlMs: Number(ttlMs), endMs: Number(endMs) };
}

function staged<Stored>(
  tier: LeaseTier<Stored>,
  stored: (text: string) => Stored,
  textOf: (stored: Stored) => string,
): StagedTier {
  const read = async (key: string) => {
    const entry: TierEntry<Stored> | undefined = await tier.read(key, {
      ...BOUNDS,
      withRemaining: true,
    });
    return entry && { text: textOf(entry.stored), remainingMs: entry.remainingMs };
  };
  const fill: StagedTier['fill'] = (key, token, text, ttlMs = LONG_MS) =>
    tier.fill(key, token, { stored: stored(text), ttlMs }, BOUNDS);
  return {
    // The cases only hand back to a tier what came from it or from its own `stored`.
    tier: tier as unknown as LeaseTier<unknown>,
    stored,
    read,
    fill,
    textOf: async (key) => (await read(key))?.text,
    lease: async (key, token, leaseMs = LONG_MS) =>
      (await tier.lease(key, token, leaseMs, BOUNDS)).state,
    async put(key, text, ttlMs) {
      const token = newToken();
      assert.equal(await tier.seize(key, token, LONG_MS, BOUNDS), 'leader');
      assert.equal(await fill(key, token, text, ttlMs), 'stored');
    },
  };
}

/** A token as the engine makes them. */
export const newToken = (): string => systemRandom.token(22);

/** Looks until the condition holds, and fails the case when it does not within ten seconds. */
export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const since = instantOf(systemClock);
  while (!(await holds())) {
    assert.ok(elapsedMs(systemClock, since) < 10_000, `waited 10 s for ${what}`);
    await sleep(systemClock, 10);
  }
}
