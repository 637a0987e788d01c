import type { Instant, Validity } from '../core/clock.js';
import type { Deck } from './deck.js';
import type { LocalValue } from './driver.js';
import type { Flight, Sighting } from './flight.js';
import type { Question } from './looks.js';

/** How the first trip of a flight begins: with the answer to a look, or without one, or as usual. */
export interface Start {
  readonly question?: Question | undefined;
  readonly leasesFirst?: boolean | undefined;
}

/** The way from a first look to a value. */
export interface Trip {
  readonly deck: Deck;
  readonly flight: Flight;
  readonly begun: Instant;
  /** The first look, until it is taken. */
  question: Question | undefined;
  /** The lease is asked for without a look before. */
  leasesFirst: boolean;
  isMissed: boolean;
  hasLooked: boolean;
  /** What {@link Flight.seal} gave before the last look. */
  lookedAsOf: number;
  loadCount: number;
  /** What is left of the time that reads may wait for the authority. */
  tierMsLeft: number;
  /** There is an entry that has to be replaced. */
  hasOld: boolean;
  /** The tags that the next load is expected to set. */
  expectedTags: readonly string[];
  /** What there is for want of a better one. */
  stale: StaleSighting | undefined;
  /** Takes back the answer that is given after `softTimeoutMs`. */
  cancelSoft: () => void;
}

/** An entry that is past its time. */
export interface StaleSighting extends Sighting {
  readonly local: LocalValue;
  readonly isStale: true;
  /** Until when it may be answered when the load fails. */
  readonly validity: Validity;
}

const NO_TAGS: readonly string[] = [];
const nothing = (): void => {};

/** A trip that has not begun. */
export function newTrip(
  deck: Deck,
  flight: Flight,
  { question, leasesFirst = false }: Start,
): Trip {
  const { tierTimeoutMs } = deck.settings;
  const begun = question?.since ?? deck.present();
  // Without spreading, which is slow: each miss makes one.
  return {
    deck,
    flight,
    begun,
    question,
    leasesFirst,
    isMissed: false,
    hasLooked: false,
    lookedAsOf: 0,
    loadCount: 0,
    tierMsLeft: tierTimeoutMs,
    hasOld: false,
    expectedTags: NO_TAGS,
    stale: undefined,
    cancelSoft: nothing,
  };
}
