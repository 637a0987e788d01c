import type { Instant } from '../core/clock.js';
import { turnInstant } from '../core/coarse-clock.js';
import { type Deadlines, deadlines } from '../core/deadlines.js';
import { FewMap } from '../core/few-map.js';
import { type WorkGate, workGate } from '../core/work-gate.js';
import type { Flight } from './flight.js';
import { type Looks, newLooks } from './looks.js';
import { type Slides, slides } from './sliding.js';
import { type CacheStatistics, cacheStatistics } from './statistics.js';
import { type Counters, newCounters } from './stats.js';
import { type CacheSettings, type CacheTiers, openTiers } from './tiers.js';

/** What the parts of one open cache share. */
export interface Deck {
  readonly settings: CacheSettings;
  readonly tiers: CacheTiers;
  readonly counters: Counters;
  readonly statistics: CacheStatistics;
  /** The keys that callers wait for. */
  readonly flights: FewMap<string, Flight>;
  /** Callers that are alone with their key so far. */
  readonly looks: Looks;
  /** The present as of this turn of the event loop. */
  readonly present: () => Instant;
  /** Of those callers. */
  readonly deadlines: Deadlines;
  /** Of renewals; they do not keep the process running. */
  readonly renewals: Deadlines;
  /** What goes on in the background for keys that have a value. */
  readonly refreshes: Refreshes;
  /** Where hits extend their entries. */
  readonly slides: Slides | undefined;
  /** Counts the calls in flight, and refuses new ones once closed. */
  readonly gate: WorkGate;
}

/** What goes on in the background, and what failed lately. */
export interface Refreshes {
  /** Keys that are being loaded anew. */
  readonly running: Set<string>;
  /** When the last load of a key failed that has a stale value. */
  readonly failures: Map<string, Instant>;
  /** Aborted when the cache ends. */
  readonly ending: AbortController;
}

export function newDeck(settings: CacheSettings): Deck {
  const counters = newCounters(settings.clock);
  const tiers = openTiers(settings);
  const present = turnInstant(settings.clock);
  const gate = workGate(`cache ${settings.name}`, settings.clock);
  const isSliding = settings.aging.maxAgeMs !== undefined;
  return {
    slides: isSliding ? slides({ settings, tiers, present, gate }) : undefined,
    refreshes: { running: new Set(), failures: new Map(), ending: new AbortController() },
    settings,
    tiers,
    counters,
    statistics: cacheStatistics(settings.clock, counters, tiers.stats),
    flights: new FewMap(),
    looks: newLooks(),
    present,
    deadlines: deadlines(settings.clock, { keepAlive: true }),
    renewals: deadlines(settings.clock, { lingers: false }),
    gate,
  };
}
