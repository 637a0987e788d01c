import { type Clock, remainingMs as leftOf, type Validity } from '../core/clock.js';
import type { Random } from '../core/random.js';
import type { Aging, LocalValue } from './driver.js';

/** How the entries of a cache age; see the options of `createCache`. */
export interface AgingPolicy {
  readonly staleMs: number;
  readonly staleIfErrorMs: number;
  readonly jitter: number;
  readonly earlyRefresh: number;
  /** Undefined: hits do not extend an entry. */
  readonly maxAgeMs?: number | undefined;
}

/** What an entry is given when it is stored. */
export interface Lifetime {
  /** From storing to its end, the time in which it is stale included, in milliseconds. */
  readonly ttlMs: number;
  /** Undefined: it is as good as new until its end. */
  readonly aging: Aging | undefined;
  /** How long it lasts from a hit, and in all; undefined: hits do not extend it. */
  readonly slides: { readonly ttlMs: number; readonly maxAgeMs: number } | undefined;
}

/** In which part of its life an entry is. */
export type Age = 'fresh' | 'early' | 'stale' | 'over';

/**
 * The life of an entry: `ttlMs`, shortened by the jitter, and then the time in which it is stale.
 *
 * With `earlyRefresh` its last part asks for a refresh, the longer the load took: load time × beta ×
 * an exponential draw, at most half of its life. The draw is that of Vattani, Chierichetti and
 * Lowenstein, Optimal Probabilistic Cache Stampede Prevention (VLDB 2015), but made once, when the
 * entry is stored: the lease of the refresh already lets only one node load.
 */
export function lifetimeOf(
  { staleMs, staleIfErrorMs, jitter, earlyRefresh, maxAgeMs }: AgingPolicy,
  random: Random,
  { ttlMs, loadMs = 0 }: { readonly ttlMs: number; readonly loadMs?: number | undefined },
): Lifetime {
  const jitteredMs = jitter === 0 ? ttlMs : Math.max(ttlMs * (1 - jitter * random.fraction()), 1);
  const freshMs = Math.min(jitteredMs, maxAgeMs ?? jitteredMs);
  const graceMs = Math.max(staleMs, staleIfErrorMs);
  const drawnMs = earlyRefresh === 0 ? 0 : -loadMs * earlyRefresh * Math.log(1 - random.fraction());
  const earlyMs = Math.min(drawnMs, freshMs / 2);
  const isAging = graceMs > 0 || earlyMs > 0;
  return {
    ttlMs: freshMs + graceMs,
    aging: isAging ? { graceMs, earlyMs } : undefined,
    slides: maxAgeMs === undefined ? undefined : { ttlMs: Math.ceil(freshMs), maxAgeMs },
  };
}

/** How long an entry is still as good as new, if so much is left until its end; may be negative. */
export function freshMsOf(aging: Aging | undefined, remainingMs: number): number {
  return aging === undefined ? remainingMs : remainingMs - aging.graceMs - aging.earlyMs;
}

/** For how long an entry has been stale; negative while it is not. */
export function staleForMs(aging: Aging | undefined, remainingMs: number): number {
  return (aging?.graceMs ?? 0) - remainingMs;
}

/** In which part of its life an entry is, if so much is left until its end. */
export function ageOf(aging: Aging | undefined, remainingMs: number): Age {
  if (remainingMs <= 0) return 'over';
  if (freshMsOf(aging, remainingMs) > 0) return 'fresh';
  return staleForMs(aging, remainingMs) < 0 ? 'early' : 'stale';
}

/** In which part of its life what was found is now. */
export function ageNow(
  clock: Clock,
  { local: { aging }, validity }: { readonly local: LocalValue; readonly validity: Validity },
): Age {
  return aging === undefined ? 'fresh' : ageOf(aging, leftOf(clock, validity));
}
