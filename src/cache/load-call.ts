import { abortable, type LazyAbort } from '../core/abort.js';
import { type Clock, instantOf } from '../core/clock.js';
import { assertTtlMs } from '../core/validate.js';
import { assertTags } from './arguments.js';
import type { Fill } from './authority.js';
import type { LoadContext, Loader } from './cache.js';
import type { Deck } from './deck.js';
import { type CacheLoadContext, cacheLoad } from './diagnostics.js';
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
  const { clock } = settings;
  const { key, scope } = call;
  counters.loadCount += 1;
  const sinceMs = clock.monotonicMs();
  const choice: LoaderChoice = { ttlMs: call.ttlMs, tags: call.tags, isStored: true };
  const context = new CallContext(deck, call, choice);
  try {
    const value = await abortable(run(deck, call, context), scope);
    const local = value === undefined ? undefined : settings.values.take(key, value);
    const loadMs = clock.monotonicMs() - sinceMs;
    counters.loadMs.add(loadMs);
    const { isStored, ttlMs, tags } = choice;
    const fill = isStored ? fillOf(settings, local, { ttlMs, loadMs }) : NOT_KEPT;
    return { local, fill, tags };
  } catch (error) {
    counters.loadFailureCount += 1;
    throw error;
  }
}

/** What a loader throws at once is a rejection, too. */
function run(deck: Deck, { key, loader }: LoadCall, context: LoadContext): Promise<unknown> {
  if (cacheLoad.isListened) {
    const told = (): CacheLoadContext => ({ cache: deck.settings.name, key });
    return cacheLoad.trace(told, async () => loader(context));
  }
  try {
    return Promise.resolve(loader(context));
  } catch (error) {
    return Promise.reject(error);
  }
}

/** What a loader says of its value. */
interface LoaderChoice {
  ttlMs: number;
  tags: readonly string[];
  isStored: boolean;
}

/** A class, because each miss makes one. Its verbs work without it, too: loaders take them out. */
class CallContext implements LoadContext {
  readonly #call: LoadCall;
  readonly key: string;
  readonly setTtl: LoadContext['setTtl'];
  readonly setTags: LoadContext['setTags'];
  readonly doNotStore: LoadContext['doNotStore'];

  constructor(deck: Deck, call: LoadCall, choice: LoaderChoice) {
    this.#call = call;
    this.key = call.key;
    this.setTtl = (ttlMs) => {
      assertTtlMs(ttlMs);
      choice.ttlMs = ttlMs;
    };
    this.setTags = (own) => {
      assertTags(deck, own);
      choice.tags = Array.from(new Set([...call.tags, ...own]));
    };
    this.doNotStore = () => {
      choice.isStored = false;
    };
  }

  get signal(): AbortSignal {
    return this.#call.scope.signal;
  }

  get stale(): unknown {
    const { key, stale } = this.#call;
    return stale && handOut(key, stale);
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
