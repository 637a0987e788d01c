import { FENCE_KEPT_MS, type FencedOff, type StrictTier } from '../../cache/driver.js';
import type { CacheMarks, CacheParts } from './cache-marks.js';
import { CONCLUDE, RESERVE } from './cache-strict-scripts.js';
import { formatError } from './errors.js';

/** The holds of a strict cache, which leave the entry to its readers. */
export function cacheReservations(
  { calls, changes, keys }: CacheParts,
  marks: CacheMarks,
): StrictTier {
  return {
    async reserve(key, token, holdMs, bounds) {
      const { fence } = bounds;
      const names = fence === undefined ? keys.pair(key) : [...keys.pair(key), keys.fence(key)];
      const fencing = [fence ?? '', FENCE_KEPT_MS];
      const values = [`1h${token}`, Math.ceil(holdMs), keys.channel, key, ...fencing];
      const reply = await calls.script(RESERVE, names, values, bounds);
      return typeof reply === 'string' ? fencedOff(keys.fence(key), reply) : undefined;
    },
    async conclude(key, token, entry, bounds) {
      const { holdMs = 0 } = bounds;
      const conclude = async (generation: string, timeoutMs: number): Promise<'own' | 'other'> => {
        const { stored, ttlMs } = entry ?? { stored: '', ttlMs: 0 };
        const claim = [`1h${token}`, keys.channel, key];
        const kept = [generation, Math.ceil(ttlMs), calls.argument(stored), Math.ceil(holdMs)];
        const values = [...claim, ...kept];
        const told = { of: 'keys', names: [key] } as const;
        const reply = await changes.script(CONCLUDE, keys.pair(key), values, { timeoutMs }, told);
        return reply === 1 ? 'own' : 'other';
      };
      if (entry === undefined) return conclude('', bounds.timeoutMs);
      // Cleared meanwhile: what was stored is outdated, and the second time finds the hold gone.
      const answer = await marks.under('conclude', bounds, (generation, { timeoutMs }) =>
        conclude(generation, timeoutMs),
      );
      return answer.reply;
    },
  };
}

/** The newest token that a key has seen, as it is stored: the format's version, and its digits. */
export function fencedOff(where: string, stored: string): FencedOff {
  if (!/^1\d{40}$/.test(stored)) throw formatError(where, stored.slice(0, 1), 1);
  return { newest: stored.slice(1) };
}
