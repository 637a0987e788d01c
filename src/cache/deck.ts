import { type WorkGate, workGate } from '../core/work-gate.js';
import type { Flight } from './flight.js';
import { type Counters, newCounters } from './stats.js';
import { type CacheSettings, type CacheTiers, openTiers } from './tiers.js';

/** What the parts of one open cache share. */
export interface Deck {
  readonly settings: CacheSettings;
  readonly tiers: CacheTiers;
  readonly counters: Counters;
  /** The keys that callers wait for. */
  readonly flights: Map<string, Flight>;
  /** Counts the calls in flight, and refuses new ones once closed. */
  readonly gate: WorkGate;
}

export function newDeck(settings: CacheSettings): Deck {
  return {
    settings,
    tiers: openTiers(settings),
    counters: newCounters(),
    flights: new Map(),
    gate: workGate(`cache ${settings.name}`, settings.clock),
  };
}
