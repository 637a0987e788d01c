import type { CallBounds } from '../../cache/driver.js';
import type { CancelTimer, Clock } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import type { CacheCalls } from './cache-calls.js';
import type { RedisCacheClient } from './cache-client.js';
import type { CacheKeys } from './cache-keys.js';
import type { ToldChange } from './cache-news.js';
import { newsText } from './cache-news-text.js';
import { FORGET } from './cache-scripts.js';
import type { RedisArgument } from './client.js';
import { type RedisScript, redisScript } from './script.js';

/** The calls that change what other processes may have copied. */
export interface CacheChanges {
  /** Runs a script, and tells of what it changes in the same step. */
  script(
    script: RedisScript,
    keys: readonly string[],
    values: readonly RedisArgument[],
    bounds: CallBounds,
    told: ToldChange,
  ): Promise<unknown>;
  /** Removes keys of one slot. */
  unlink(keys: readonly string[], bounds: CallBounds, told: ToldChange): Promise<void>;
}

/** The same, and what is said beside the changes. */
export interface CachePublisher extends CacheChanges {
  /** The name of this life of the cache: 22 characters of chance. */
  readonly id: string;
  /** Says up to which number all was said; and from now on each second. */
  beat(): void;
  /** Says that it ends, if it can, within a quarter of a second. Never rejects. */
  end(): Promise<void>;
}

/** Changes that nobody is told of, but by the server itself. */
export function silentChanges(calls: CacheCalls, client: RedisCacheClient): CacheChanges {
  return {
    script: (script, keys, values, bounds) => calls.script(script, keys, values, bounds),
    async unlink(keys, bounds) {
      await calls.send('UNLINK', () => client.unlink(...keys), bounds);
    },
  };
}

const ID_LENGTH = 22;
const BEAT_EVERY_MS = 1_000;
const GOODBYE_MS = 250;

/**
 * Publishes each change from within the script that makes it, so that none is made without its
 * message, and the message is on its way before the change is acknowledged. The numbers are those of
 * cache-news.ts; one that was taken for a call which never ran is missed by all, who then drop more
 * than they had to.
 */
export function cachePublisher(parts: {
  readonly calls: CacheCalls;
  readonly client: RedisCacheClient;
  readonly keys: CacheKeys;
  readonly clock: Clock;
  readonly random: Random;
}): CachePublisher {
  const { calls, client, keys, clock, random } = parts;
  const id = random.token(ID_LENGTH);
  /** In the order of their numbers; without those that were under way for a whole beat. */
  const underWay = new Set<number>();
  let lastNumber = 0;
  let lastAtBeat = 0;
  let floorBefore = 0;
  let isBeating = false;
  let isEnded = false;
  let cancel: CancelTimer | undefined;

  const floor = (): number => {
    const [first = lastNumber + 1] = underWay;
    return first - 1;
  };
  const say = async (kind: 'beat' | 'bye', upTo: number, timeoutMs: number): Promise<void> => {
    const text = newsText({ kind, publisher: id, floor: upTo });
    const publish = () => client.publish(keys.newsChannel, text);
    await calls.send('PUBLISH', publish, { timeoutMs }).catch(() => {});
  };
  const beat = (): void => {
    if (isEnded) return;
    cancel?.();
    cancel = clock.schedule(BEAT_EVERY_MS, beat, { keepAlive: false });
    if (isBeating) return;
    isBeating = true;
    // As of the beat before: by now every change up to it has come, on whatever way.
    const upTo = floorBefore;
    // One that hangs must not hide for longer that others after it were lost.
    for (const number of underWay) if (number <= lastAtBeat) underWay.delete(number);
    lastAtBeat = lastNumber;
    floorBefore = floor();
    const done = (): void => {
      isBeating = false;
    };
    say('beat', upTo, BEAT_EVERY_MS).then(done, done);
  };
  const script: CacheChanges['script'] = async (each, names, values, bounds, told) => {
    lastNumber += 1;
    const number = lastNumber;
    underWay.add(number);
    if (cancel === undefined) beat();
    const text = newsText({ kind: 'change', publisher: id, number, told });
    try {
      return await calls.script(telling(each), names, [...values, keys.newsChannel, text], bounds);
    } finally {
      // Also if it may still run: then it is missed for now, and heard when it does.
      underWay.delete(number);
    }
  };
  return {
    id,
    script,
    async unlink(names, bounds, told) {
      await script(FORGET, names, [], bounds, told);
    },
    beat,
    async end() {
      isEnded = true;
      cancel?.();
      if (cancel !== undefined && client.status === 'ready') await say('bye', floor(), GOODBYE_MS);
    },
  };
}

const tellingScripts = new WeakMap<RedisScript, RedisScript>();

/** The script, with the channel and the message after its values. */
function telling(script: RedisScript): RedisScript {
  const known = tellingScripts.get(script);
  if (known !== undefined) return known;
  const publish = `local message = table.remove(ARGV)
redis.call('publish', table.remove(ARGV), message)
`;
  const made = redisScript(script.name, publish + script.lua);
  tellingScripts.set(script, made);
  return made;
}
