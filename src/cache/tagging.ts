import type { Fill } from './authority.js';
import type { Deck } from './deck.js';
import type { TagStamp } from './driver.js';
import type { Loaded } from './load-call.js';

/** What was known of tags before a load began. */
export interface TagsBefore {
  /** Undefined: not even the epoch is known. */
  readonly epoch: string | undefined;
  /** The versions of the tags that were expected. */
  readonly versions: ReadonlyMap<string, string>;
}

const NO_VERSIONS: ReadonlyMap<string, string> = new Map();

/** What is known where no tags are expected. */
export const untagged = (epoch: string | undefined): TagsBefore => ({
  epoch,
  versions: NO_VERSIONS,
});

/**
 * Reads the versions of the tags that a load is expected to set. They make its fill independent of
 * the epoch, which also moves when other tags are invalidated.
 */
export async function tagsBefore(
  { tiers: { authority }, settings }: Deck,
  epoch: string | undefined,
  expected: readonly string[],
): Promise<TagsBefore> {
  if (expected.length === 0 || authority.tags === undefined) return untagged(epoch);
  const { ttlMs, tierTimeoutMs } = settings;
  const answer = await authority.tags.stamp(expected, ttlMs, tierTimeoutMs);
  const stamps = answer.state === 'stamped' ? answer.stamps : [];
  return { epoch, versions: new Map(stamps.map(({ tag, version }) => [tag, version])) };
}

/**
 * A fill with the versions that its tags had before the load. `moved`: one of them may have been
 * invalidated since, so that what was loaded may be old. `failed`: nobody knows.
 */
export async function stampFill(
  { tiers: { authority }, settings }: Deck,
  { fill, tags }: Pick<Loaded, 'fill' | 'tags'>,
  before: TagsBefore,
): Promise<Fill | 'moved' | 'failed'> {
  const { value, ttlMs } = fill;
  if (tags.length === 0 || value === undefined) return fill;
  const answer = await authority.tags?.stamp(tags, ttlMs, settings.tierTimeoutMs);
  if (answer?.state !== 'stamped') return 'failed';
  const { stamps, epoch } = answer;
  const isSame = ({ tag, version }: TagStamp): boolean => before.versions.get(tag) === version;
  if (epoch !== before.epoch && !stamps.every(isSame)) return 'moved';
  return { value: { ...value, tags: stamps }, ttlMs };
}
