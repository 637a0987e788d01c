import type { CallBounds } from '../../cache/driver.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import type { CacheCalls } from './cache-calls.js';
import type { CacheChanges } from './cache-changes.js';
import type { RedisCacheClient } from './cache-client.js';
import type { CacheKeys } from './cache-keys.js';
import { MAKE } from './cache-scripts.js';
import { turnCalls } from './cache-turns.js';
import { unknown } from './errors.js';

/** What stands for a whole cache at one moment. */
export interface Marks {
  /** What was stored under another one is from before a `clear`. */
  readonly generation: string;
  /** Another one: some tag may have been invalidated since. */
  readonly epoch: string;
}

/** The marks of one cache in Redis. No script sees them: they live in a slot of their own. */
export interface CacheMarks {
  /** The generation that was seen last. */
  readonly seen: string | undefined;
  /** As of a moment after the call; without those that are missing. */
  now(timeoutMs: number): Promise<Partial<Marks>>;
  /** The same, made where they are missing. */
  made(timeoutMs: number): Promise<Marks>;
  /** Takes note of a generation that was seen. */
  note(generation: string | null): void;
  /**
   * Runs a call under a generation that was the cache's at some moment while it ran; again when the
   * cache was cleared meanwhile. Answers with the marks of that moment.
   */
  under<Reply>(
    operation: string,
    bounds: CallBounds,
    call: (generation: string, bounds: CallBounds) => Promise<Reply>,
  ): Promise<{ readonly reply: Reply; readonly marks: Marks }>;
  /** Ends both: what was stored is outdated, and what is being loaded will be refused. */
  end(bounds: CallBounds): Promise<void>;
}

/** How the parts of one cache reach Redis. */
export interface CacheParts {
  readonly calls: CacheCalls;
  readonly changes: CacheChanges;
  readonly client: RedisCacheClient;
  readonly keys: CacheKeys;
  readonly clock: Clock;
  readonly random: Random;
}

const ATTEMPTS_MAX = 8;
export const CHANCE_LENGTH = 8;

export function cacheMarks({ calls, changes, keys, clock, random }: CacheParts): CacheMarks {
  const names = [keys.generation, keys.epoch];
  let seen: string | undefined;

  const note = (generation: string | null | undefined): void => {
    if (generation !== undefined) seen = generation ?? undefined;
  };
  const marksOf = ([generation, epoch]: readonly (string | null)[]): Partial<Marks> => {
    note(generation);
    return { ...(generation ? { generation } : {}), ...(epoch ? { epoch } : {}) };
  };
  const shared = turnCalls<undefined, Partial<Marks>, Partial<Marks>>({
    clock,
    operation: 'MGET',
    async send(of, timeoutMs) {
      const marks = marksOf(await calls.mget(names, { timeoutMs }));
      return of.map(() => marks);
    },
    finish: (marks) => marks,
  });
  const now = (timeoutMs: number): Promise<Partial<Marks>> => shared(undefined, timeoutMs);
  const made = async (timeoutMs: number): Promise<Marks> => {
    const values = [random.token(CHANCE_LENGTH), 0, 0];
    const marks = marksOf((await calls.script(MAKE, names, values, { timeoutMs })) as string[]);
    if (isWhole(marks)) return marks;
    throw unknown(MAKE.name, 'the server made no version');
  };

  return {
    get seen() {
      return seen;
    },
    now,
    made,
    note,
    async under(operation, { timeoutMs }, call) {
      const leftMs = timeLeft(clock, operation, timeoutMs);
      let generation = seen ?? (await made(leftMs())).generation;
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
        const left = leftMs();
        const [reply, found] = await Promise.all([
          call(generation, { timeoutMs: left }),
          now(left),
        ]);
        const marks = isWhole(found) ? found : await made(leftMs());
        if (marks.generation === generation) return { reply, marks };
        generation = marks.generation;
      }
      throw unknown(operation, `the cache was cleared ${ATTEMPTS_MAX} times meanwhile`);
    },
    async end(bounds) {
      await changes.unlink(names, bounds, { of: 'all' });
      seen = undefined;
    },
  };
}

function isWhole(marks: Partial<Marks>): marks is Marks {
  return marks.generation !== undefined && marks.epoch !== undefined;
}

/** What is left of one operation's time, for each of its requests. */
export function timeLeft(clock: Clock, operation: string, timeoutMs: number): () => number {
  const since = instantOf(clock);
  return () => {
    const leftMs = timeoutMs - elapsedMs(clock, since);
    if (leftMs <= 0) throw unknown(operation, `it was not done within ${timeoutMs} ms`);
    return leftMs;
  };
}
