/** How many characters a generation has, or any other version that `cache.make` gives out. */
export const VERSION_LENGTH = 22;

// An entry stands as JSON: `["‹generation›",‹text›]`. A generation begins with the format's version.
// What begins otherwise is left to the codec, which knows what a newer release may have written.
const BEGINNING = '["1';
const TEXT_FROM = VERSION_LENGTH + 4;

/**
 * The text of an entry that stands in Redis; undefined when it is of another generation than the
 * cache's: from before it was cleared.
 */
export function textOf(stored: string, generation: string | undefined): string | undefined {
  if (!stored.startsWith(BEGINNING)) return stored;
  const isCurrent = generation !== undefined && stored.startsWith(generation, 2);
  return isCurrent ? stored.slice(TEXT_FROM, -1) : undefined;
}
