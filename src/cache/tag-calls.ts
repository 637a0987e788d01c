import type { Answer } from './authority.js';
import type { CallBounds, LocalTags, TagStamp, TierTags } from './driver.js';
import type { TierCalls } from './tier-calls.js';

/** The tags of a tier, asked as it is asked for entries. */
export interface TagCalls {
  /** Whether nothing has invalidated an entry that carries these. Rejects when nobody knows. */
  areCurrent(stamps: readonly TagStamp[], timeoutMs: number): Promise<boolean>;
  /** The stamps for an entry that is stored for `keepMs`, and the epoch of a later moment. */
  stamp(tags: readonly string[], keepMs: number, timeoutMs: number): Promise<Answer<TagStamps>>;
  /** The same for a writer, who must know. */
  demandStamps(tags: readonly string[], keepMs: number, timeoutMs: number): Promise<TagStamps>;
  /** Invalidates what carries one of the tags. */
  renew(tags: readonly string[], timeoutMs: number): Promise<void>;
}

/** Tags as they were at one moment. */
export interface TagStamps {
  readonly state: 'stamped';
  readonly stamps: readonly TagStamp[];
  readonly epoch: string;
}

/** Undefined for a tier without tags. */
export function tagCalls({
  tags,
  knownTags,
  ask,
  demand,
}: {
  readonly tags: TierTags | undefined;
  readonly knownTags: LocalTags | undefined;
  readonly ask: TierCalls['ask'];
  readonly demand: TierCalls['demand'];
}): TagCalls | undefined {
  if (tags === undefined) return undefined;
  const stamp = async (
    names: readonly string[],
    keepMs: number,
    bounds: CallBounds,
  ): Promise<TagStamps> => {
    const { versions, epoch } = await tags.stamp(names, keepMs, bounds);
    const stamps = names.map((tag, index) => ({ tag, version: versions[index] ?? '' }));
    return { state: 'stamped', stamps, epoch };
  };
  return {
    async areCurrent(stamps, timeoutMs) {
      const asked: TagStamp[] = [];
      for (const one of stamps) {
        const known = knownTags?.get(one.tag);
        if (known === undefined) asked.push(one);
        else if (known !== one.version) return false;
      }
      if (asked.length === 0) return true;
      // Before the question is sent: a renewal that is told meanwhile is newer than the answer.
      const since = knownTags?.moment ?? 0;
      const names = asked.map(({ tag }) => tag);
      const versions = await tags.versions(names, { timeoutMs });
      names.forEach((tag, index) => {
        const version = versions[index];
        if (version !== undefined) knownTags?.note(tag, version, since);
      });
      return asked.every(({ version }, index) => version === versions[index]);
    },
    stamp: (names, keepMs, timeoutMs) =>
      ask('stamp', undefined, () => stamp(names, keepMs, { timeoutMs })),
    demandStamps: (names, keepMs, timeoutMs) =>
      demand('stamp', undefined, timeoutMs, (bounds) => stamp(names, keepMs, bounds)),
    renew: (names, timeoutMs) =>
      demand('invalidate tags', undefined, timeoutMs, (bounds) => tags.renew(names, bounds)),
  };
}
