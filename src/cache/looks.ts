import type { Instant } from '../core/clock.js';
import { FewMap } from '../core/few-map.js';
import type { Answer, ReadAnswer } from './authority.js';
import type { FillTicket } from './driver.js';
import type { FlightRequest } from './flight.js';

/**
 * A caller of `getOrLoad` who asks the shared tier for a key, and is alone with it so far. Nearly all
 * find what they ask for and need no flight, which costs several times as much. It becomes one when
 * somebody else comes for the same key, or when the answer is not simply a good entry.
 */
export interface Look {
  readonly key: string;
  readonly request: FlightRequest;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  letGo: (() => void) | undefined;
  /** Undefined: the tier was not asked yet. */
  question: Question | undefined;
}

/** What a look asked, and when. */
export interface Question {
  readonly answer: Promise<Answer<ReadAnswer>>;
  readonly since: Instant;
  readonly ticket: FillTicket | undefined;
}

/** The looks of one cache, each alone with its key. */
export interface Looks {
  /** Those that are under way, by key. */
  readonly running: FewMap<string, Look>;
  /** Those of them that begin soon, so that callers of one key and one turn meet before. */
  beginning: Look[];
  /** How many keys in a row were not in the tier. */
  missCount: number;
}

/** None yet. */
export const newLooks = (): Looks => ({ running: new FewMap(), beginning: [], missCount: 0 });

/**
 * After so many misses in a row another one is expected: then the lease is asked for without a look
 * before, which saves a third of the messages of a miss, and tells too what is there. While most keys
 * are there this is rare, and a lease that was not needed takes the server longer than a read.
 */
const MISSES_EXPECTING = 8;

/** Whether the next key is expected not to be there. */
export const expectsMiss = ({ missCount }: Looks): boolean => missCount >= MISSES_EXPECTING;

/** Takes note of whether a key was there. */
export function noteLook(looks: Looks, state: Answer<ReadAnswer>['state'] | 'leader'): void {
  const isMiss = state === 'missing' || state === 'outdated' || state === 'leader';
  looks.missCount = isMiss ? looks.missCount + 1 : 0;
}
