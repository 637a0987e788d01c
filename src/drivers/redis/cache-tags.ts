import type { TierTags } from '../../cache/driver.js';
import { type CacheMarks, type CacheParts, CHANCE_LENGTH, timeLeft } from './cache-marks.js';
import type { ToldChange } from './cache-news.js';
import { MAKE } from './cache-scripts.js';
import { slotGroups } from './slots.js';

const KEYS_MAX = 500;
/** Far beyond any entry, and far below what Redis takes for milliseconds. */
const KEEP_MS_MAX = 1e13;

/**
 * The versions of tags, each a key of its own. To invalidate is to remove it: the next entry that
 * carries the tag makes another one, and a removal that is sent twice does no harm.
 */
export function cacheTags(parts: CacheParts, marks: CacheMarks): TierTags {
  const { calls, changes, client, keys, clock, random } = parts;
  const groupsOf = (tags: readonly string[]): string[][] =>
    slotGroups(client, tags, keys.tag, KEYS_MAX);
  /** Asks for each group at once; answers in the order of the tags. */
  const eachGroup = async <Reply>(
    tags: readonly string[],
    ask: (names: string[]) => Promise<readonly Reply[]>,
  ): Promise<Reply[]> => {
    const byTag = new Map<string, Reply>();
    const ofGroup = async (group: string[]): Promise<void> => {
      const replies = await ask(group.map(keys.tag));
      for (const [index, tag] of group.entries()) byTag.set(tag, replies[index] as Reply);
    };
    await Promise.all(groupsOf(tags).map(ofGroup));
    return tags.map((tag) => byTag.get(tag) as Reply);
  };

  return {
    async versions(tags, bounds) {
      const found = await eachGroup(tags, (names) => calls.mget(names, bounds));
      return found.map((version) => version ?? undefined);
    },
    async stamp(tags, keepMs, { timeoutMs }) {
      const leftMs = timeLeft(clock, MAKE.name, timeoutMs);
      const keep = Math.min(Math.ceil(keepMs), KEEP_MS_MAX);
      const make = async (names: string[], endingCount: number): Promise<string[]> => {
        const values = [random.token(CHANCE_LENGTH), endingCount, keep];
        return (await calls.script(MAKE, names, values, { timeoutMs: leftMs() })) as string[];
      };
      if (!client.isCluster) {
        const names = tags.map(keys.tag);
        const versions = await make([...names, keys.epoch], names.length);
        return { versions: versions.slice(0, -1), epoch: versions.at(-1) ?? '' };
      }
      const versions = await eachGroup(tags, (names) => make(names, names.length));
      // Afterwards: whoever invalidates ends the epoch before any tag.
      return { versions, epoch: (await marks.made(leftMs())).epoch };
    },
    async renew(tags, { timeoutMs }) {
      const leftMs = timeLeft(clock, 'UNLINK', timeoutMs);
      const end = async (of: readonly string[], also: readonly string[] = []): Promise<void> =>
        changes.unlink([...also, ...of.map(keys.tag)], { timeoutMs: leftMs() }, toldOf(of));
      if (!client.isCluster) return end(tags, [keys.epoch]);
      await end([], [keys.epoch]);
      await Promise.all(groupsOf(tags).map((group) => end(group)));
    },
  };
}

function toldOf(names: readonly string[]): ToldChange {
  return { of: 'tags', names };
}
