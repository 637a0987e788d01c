import type { Random } from '../core/random.js';
import { newToken } from './claims.js';

/** The holds of updates that overlap in this process. */
export interface SharedHolds {
  /** Takes part in the hold of a key, which has one token until the last has left. */
  enter(key: string): SharedHold;
}

/** One update's part in a hold. */
export interface SharedHold {
  readonly token: string;
  /** Leaves, once; true for the last one, who ends the hold. */
  leave(): boolean;
}

/**
 * With a token each, the hold of a second update would take the place of the first one's, and its end
 * would let others store what they loaded before the first one's commit; if that writer dies
 * before it invalidates, nobody removes it.
 */
export function sharedHolds(random: Random): SharedHolds {
  const holds = new Map<string, { readonly token: string; count: number }>();
  return {
    enter(key) {
      const hold = holds.get(key) ?? { token: newToken(random), count: 0 };
      hold.count += 1;
      holds.set(key, hold);
      return {
        token: hold.token,
        leave() {
          hold.count -= 1;
          const isLast = hold.count === 0;
          if (isLast) holds.delete(key);
          return isLast;
        },
      };
    },
  };
}
