import type { CasTags } from '../../cache/cas-tier.js';
import type { CallBounds } from '../../cache/driver.js';
import { type CacheStore, createNode, type NodeCall, withinBounds } from './cache-nodes.js';
import { errorOf, expectOk } from './codes.js';
import { encodeName } from './names.js';
import { ANY_VERSION } from './requests.js';

const VERSION_LENGTH = 16;
const TOGETHER_MAX = 8;
const OPERATION = 'read the versions of tags';

/** The name of a tag's znode; that of a key begins with `k-`. */
export const TAG_PREFIX = 't-';

/**
 * The versions of tags, each a znode beside those of the keys, of which this process keeps copies as
 * it does of entries: a hit asks nobody. To invalidate is to remove it.
 */
export function zookeeperTags(store: CacheStore): CasTags {
  const epochPath = `${store.base}/epoch`;
  const pathOf = (tag: string): string => `${store.base}/${TAG_PREFIX}${encodeName(tag)}`;
  const within = <T>(bounds: CallBounds, work: (call: NodeCall) => Promise<T>): Promise<T> =>
    withinBounds(store, OPERATION, bounds, work);

  const copied = async ({ live, send }: NodeCall, path: string): Promise<string | undefined> => {
    const copy = store.copies.get(live, path);
    if (copy !== undefined) return copy.data.toString();
    const reply = await send(store.copies.read(live, path));
    if (!reply.ok && reply.kind === 'no-node') return undefined;
    return expectOk(reply, OPERATION).data.toString();
  };
  const make = async ({ live, send }: NodeCall, path: string): Promise<string> => {
    const found = await send(live.ask.get(path));
    if (found.ok) return found.value.data.toString();
    if (found.kind !== 'no-node') throw errorOf(found, OPERATION);
    const own = store.connection.random.token(VERSION_LENGTH);
    const created = await createNode(store, live, path, Buffer.from(own), send);
    if (created.ok) return own;
    if (created.kind !== 'exists') expectOk(created, OPERATION);
    return expectOk(await send(live.ask.get(path)), OPERATION).data.toString();
  };
  const remove = async ({ live, send }: NodeCall, path: string): Promise<void> => {
    store.copies.drop(path);
    const reply = await send(live.ask.remove(path, ANY_VERSION));
    store.copies.drop(path);
    if (!reply.ok && reply.kind !== 'no-node') expectOk(reply, 'invalidate tags');
  };

  return {
    epoch: (bounds) => within(bounds, (call) => make(call, epochPath)),
    versions: (tags, bounds) =>
      within(bounds, (call) => eachOf(tags, (tag) => copied(call, pathOf(tag)))),
    stamp: (tags, _, bounds) =>
      within(bounds, async (call) => {
        const versions = await eachOf(tags, (tag) => make(call, pathOf(tag)));
        // Afterwards: whoever invalidates ends the epoch before any tag, and a session sees that order.
        return { versions, epoch: await make(call, epochPath) };
      }),
    renew: (tags, bounds) =>
      within(bounds, async (call) => {
        await remove(call, epochPath);
        await eachOf(tags, (tag) => remove(call, pathOf(tag)));
      }),
  };
}

/** Some at a time: each request listens to the signal of the call, and a signal takes ten listeners. */
async function eachOf<Result>(
  tags: readonly string[],
  ask: (tag: string) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let start = 0; start < tags.length; start += TOGETHER_MAX) {
    const some = tags.slice(start, start + TOGETHER_MAX);
    results.push(...(await Promise.all(some.map(ask))));
  }
  return results;
}
