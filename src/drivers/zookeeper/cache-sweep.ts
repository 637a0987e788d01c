import type { CancelTimer } from '../../core/clock.js';
import { decodeRecord } from './cache-data.js';
import { type CacheStore, KEY_PREFIX, type NodeCall, withinBounds } from './cache-nodes.js';
import { TAG_PREFIX } from './cache-tags.js';

/** Versions of tags that are older go, used or not: what carries them is loaded anew. */
const TAG_SWEPT_AFTER_MS = 30 * 24 * 3_600_000;
/** What was removed, or has ended, stays so long: whoever saw it before has gone by then. */
export const SWEPT_AFTER_MS = 3_600_000;
const SWEEP_EVERY_MS = 600_000;
/** So many znodes are looked at in one sweep. */
const LOOKED_AT_MAX = 1_000;
const SWEEP_TIMEOUT_MS = 60_000;

/** Removes znodes that hold nothing any more. */
export interface CacheSweep {
  /** From the first use of the cache on. */
  begin(): void;
  end(): void;
}

/** A sweep every ten minutes, more or less, in each process; a failed one is left to the next. */
export function cacheSweep(store: CacheStore): CacheSweep {
  const { clock, random } = store.connection;
  let cancel: CancelTimer | undefined;
  let isEnded = false;
  const schedule = (): void => {
    const delayMs = SWEEP_EVERY_MS * (0.5 + random.fraction());
    cancel = clock.schedule(delayMs, () => void run(), { keepAlive: false });
  };
  const run = async (): Promise<void> => {
    await sweepOnce(store).catch(() => {});
    if (!isEnded) schedule();
  };
  return {
    begin() {
      if (cancel === undefined && !isEnded) schedule();
    },
    end() {
      isEnded = true;
      cancel?.();
    },
  };
}

/** Looks through the directory once; answers how many znodes went. */
export function sweepOnce(store: CacheStore): Promise<number> {
  const bounds = { timeoutMs: SWEEP_TIMEOUT_MS };
  return withinBounds(store, 'sweep the cache', bounds, async (call) => {
    const listed = await call.send(call.live.ask.children(store.base));
    if (!listed.ok) return 0;
    const nowMs = await store.connection.serverTimeMs(call.live);
    const generation = await call.generation();
    let sweptCount = 0;
    for (const name of listed.value.names.slice(0, LOOKED_AT_MAX)) {
      const path = `${store.base}/${name}`;
      const sweep = sweepOf(name);
      if (await sweep?.(call, path, { nowMs, generation })) sweptCount += 1;
    }
    return sweptCount;
  });
}

interface Now {
  readonly nowMs: number;
  readonly generation: string;
}

/** How a znode is swept; undefined: it stays. */
function sweepOf(name: string): typeof sweepNode | undefined {
  if (name.startsWith(TAG_PREFIX)) return sweepTag;
  return name.startsWith(KEY_PREFIX) ? sweepNode : undefined;
}

async function sweepTag({ live, send }: NodeCall, path: string, { nowMs }: Now): Promise<boolean> {
  const reply = await send(live.ask.get(path));
  if (!reply.ok || nowMs - reply.value.stat.mtime.getTime() < TAG_SWEPT_AFTER_MS) return false;
  return (await send(live.ask.remove(path, reply.value.stat.version))).ok;
}

async function sweepNode(
  { live, send }: NodeCall,
  path: string,
  { nowMs, generation }: Now,
): Promise<boolean> {
  const reply = await send(live.ask.get(path));
  if (!reply.ok) return false;
  const { data, stat } = reply.value;
  const record = decodeRecord(path, data);
  const isOld = record !== undefined && record.generation !== generation;
  const forMs = isOld ? 0 : (record?.state.forMs ?? 0);
  if (nowMs - stat.mtime.getTime() < forMs + SWEPT_AFTER_MS) return false;
  return (await send(live.ask.remove(path, stat.version))).ok;
}
