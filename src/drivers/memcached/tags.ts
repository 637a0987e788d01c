import type { CasTags } from '../../cache/cas-tier.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import { unknown } from './errors.js';
import type { MemcachedItems } from './items.js';
import type { MemcachedKeys } from './keys.js';

const VERSION_LENGTH = 16;
/** Each time the item went again in between. */
const ATTEMPTS_MAX = 8;

/**
 * The versions of tags, each an item on the server that its name belongs to, without an end. To
 * invalidate is to remove it; where the server evicts or loses it, what carries the tag is outdated
 * too, because the next version is another one.
 */
export function memcachedTags(parts: {
  readonly items: MemcachedItems;
  readonly keys: MemcachedKeys;
  readonly clock: Clock;
  readonly random: Random;
}): CasTags {
  const { items, keys, clock, random } = parts;
  const read = async (name: string, operation: string, timeoutMs: number) => {
    const { reply } = await items.ask(name, operation, `mg ${name} v\r\n`, timeoutMs);
    return reply.status === 'VA' ? reply.data : undefined;
  };
  const make = async (name: string, operation: string, leftMs: () => number): Promise<string> => {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
      const known = await read(name, operation, leftMs());
      if (known !== undefined) return known;
      const own = random.token(VERSION_LENGTH);
      const add = `ms ${name} ${own.length} ME T0\r\n${own}\r\n`;
      const { reply } = await items.ask(name, operation, add, leftMs());
      if (reply.status === 'HD') return own;
    }
    throw unknown(operation, `${name} was removed ${ATTEMPTS_MAX} times in between`);
  };
  const remove = (name: string, timeoutMs: number): Promise<unknown> =>
    items.ask(name, 'invalidate tags', `md ${name}\r\n`, timeoutMs);
  const timeLeft = (operation: string, timeoutMs: number): (() => number) => {
    const since = instantOf(clock);
    return () => {
      const leftMs = timeoutMs - elapsedMs(clock, since);
      if (leftMs <= 0) throw unknown(operation, `it was not done within ${timeoutMs} ms`);
      return leftMs;
    };
  };

  return {
    epoch: ({ timeoutMs }) => make(keys.epoch, 'epoch', timeLeft('epoch', timeoutMs)),
    versions: (tags, { timeoutMs }) =>
      Promise.all(tags.map((tag) => read(keys.tag(tag), 'versions', timeoutMs))),
    async stamp(tags, _, { timeoutMs }) {
      const leftMs = timeLeft('stamp', timeoutMs);
      const versions = await Promise.all(tags.map((tag) => make(keys.tag(tag), 'stamp', leftMs)));
      // Afterwards: whoever invalidates ends the epoch before any tag.
      return { versions, epoch: await make(keys.epoch, 'stamp', leftMs) };
    },
    async renew(tags, { timeoutMs }) {
      const leftMs = timeLeft('invalidate tags', timeoutMs);
      await remove(keys.epoch, leftMs());
      const left = leftMs();
      await Promise.all(tags.map((tag) => remove(keys.tag(tag), left)));
    },
  };
}
