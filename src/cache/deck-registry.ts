import type { Deck } from './deck.js';

/** What stands behind the caches of this process, for what works on a cache without being part of it. */
const decks = new WeakMap<object, Deck>();

/** Remembers what a cache is made of, and answers the cache. */
export function withDeck<Subject extends object>(cache: Subject, deck: Deck): Subject {
  decks.set(cache, deck);
  return cache;
}

/** What a cache is made of; undefined for what `createCache` has not made. */
export function deckOf(cache: unknown): Deck | undefined {
  return typeof cache === 'object' && cache !== null ? decks.get(cache) : undefined;
}
