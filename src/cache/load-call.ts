import { abortable, type LazyAbort } from '../core/abort.js';
import { type Clock, instantOf } from '../core/clock.js';
import { assertTtlMs } from '../core/validate.js';
import { assertTags } from './arguments.js';
import type { Fill } from './authority.js';
import type { Loader } from './cache.js';
import type { Deck } from './deck.js';
import { cacheLoad } from './diagnostics.js';
import type { LocalValue } from './driver.js';
import { ABSENT, handOut, type Isolated } from './isolation.js';
import { type Lifetime, lifetimeOf } from './lifetime.js';
import { dueMs } from './sliding.js';

/** What a load is part of, and ends with. */
export type LoadScope = Omit<LazyAbort, 'abort'>;

/** What a loader is called for. */
export interface LoadCall {
  readonly key: string;
  readonly loader: Loader<unknown>;
  readonly ttlMs: number;
  /** The tags that its caller has given. */
  readonly tags: readonly string[];
  readonly scope: LoadScope;
  /** The entry that is too old. */
  readonly stale: LocalValue | undefined;
}

/** What a loader found. */
export interface Loaded {
  /** Undefined: nothing. */
  readonly local: Isolated | undefined;
  /** What becomes of it in the tiers; the versions of its tags are missing yet. */
  readonly fill: Fill;
  /** What it is invalidated by, beside its key. */
  readonly tags: readonly string[];
}

/** Calls a loader, and counts. Rejects with its error, or the signal's reason. */
export async function callLoader(deck: Deck, call: LoadCall): Promise<Loaded> {
  const { settings, counters } = deck;
  const { clock, name } = settings;
  const { key, loader, scope } = call;
  counters.loadCount += 1;
  const sinceMs = clock.monotonicMs();
  let { ttlMs, tags } = call;
  let isStored = true;
  const context = {
    key,
    get signal() {
      return scope.signal;
    },
    get stale() {
      return call.stale && handOut(key, call.stale);
    },
    setTtl(ownTtlMs: number) {
      assertTtlMs(ownTtlMs);
      ttlMs = ownTtlMs;
    },
    setTags(own: readonly string[]) {
      assertTags(deck, own);
      tags = Array.from(new Set([...call.tags, ...own]));
    },
    doNotStore() {
      isStored = false;
    },
  };
  try {
    const running = cacheLoad.trace(
      () => ({ cache: name, key }),
      async () => loader(context),
    );
    const value = await abortable(running, scope);
    const local = value === undefined ? undefined : settings.values.take(key, value);
    const loadMs = clock.monotonicMs() - sinceMs;
    counters.loadMs.add(loadMs);
    const fill = isStored ? fillOf(settings, local, { ttlMs, loadMs }) : NOT_KEPT;
    return { local, fill, tags };
  } catch (error) {
    counters.loadFailureCount += 1;
    throw error;
  }
}

/** What is not stored. */
export const NOT_KEPT: Fill = { value: undefined, ttlMs: 0 };

/** What is stored of a value; of none only where that is asked for. */
function fillOf(
  { aging, random, negativeTtlMs, clock }: Deck['settings'],
  local: Isolated | undefined,
  { ttlMs, loadMs }: { readonly ttlMs: number; readonly loadMs: number },
): Fill {
  if (local === undefined) {
    return negativeTtlMs === undefined ? NOT_KEPT : { value: ABSENT, ttlMs: negativeTtlMs };
  }
  return agingFill(clock, local, lifetimeOf(aging, random, { ttlMs, loadMs }));
}

/** A value with its life. */
export function agingFill(clock: Clock, local: Isolated, { ttlMs, aging, slides }: Lifetime): Fill {
  if (aging === undefined && slides === undefined) return { value: local, ttlMs };
  const now = instantOf(clock);
  const graceMs = aging?.graceMs ?? 0;
  const sliding = slides && {
    ttlMs: slides.ttlMs,
    endMs: Math.round(now.wallMs + slides.maxAgeMs),
    graceMs,
    dueMs: dueMs({ ttlMs: slides.ttlMs, endMs: 0 }, { since: now, forMs: ttlMs }, graceMs),
  };
  return { value: { ...local, aging, sliding }, ttlMs };
}
