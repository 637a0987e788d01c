import type { Fill } from './authority.js';
import type { FencedBounds, FencedOff, LeaseTier, StrictTier } from './driver.js';
import type { Isolated } from './isolation.js';
import { type TierCalls, unlessStale } from './tier-calls.js';

/** The writes of a strict cache, as demanding as any other. */
export interface StrictCalls {
  /** Rejects with FENCE_STALE when another one came with a newer fencing token. */
  reserve(
    key: string,
    token: string,
    times: { readonly holdMs: number; readonly timeoutMs: number },
    fence?: bigint,
  ): Promise<void>;
  /** Lets a reservation last so long from now. */
  renew(
    key: string,
    token: string,
    times: { readonly holdMs: number; readonly timeoutMs: number },
  ): Promise<'held' | 'lost' | 'failed'>;
  /** Stores or removes, and lets go; with `holdMs` it stays. Whether it was this token's to do. */
  conclude(
    key: string,
    token: string,
    fill: Fill | undefined,
    times: { readonly timeoutMs: number; readonly holdMs?: number | undefined },
  ): Promise<'own' | 'other'>;
}

/** What those calls are made of. */
export interface StrictParts {
  readonly strict: StrictTier | undefined;
  readonly renew: LeaseTier<unknown>['renew'];
  readonly ask: TierCalls['ask'];
  readonly demand: TierCalls['demand'];
  readonly encode: (value: Isolated) => string;
  readonly fencing: (fence: bigint | undefined) => Pick<FencedBounds, 'fence'>;
  /** Publishes what was stored. */
  readonly onStored: (key: string, fill: Fill) => void;
}

/** Undefined for a tier without them. */
export function strictCalls(parts: StrictParts): StrictCalls | undefined {
  const { strict, renew, ask, demand, encode, fencing, onStored } = parts;
  if (strict === undefined) return undefined;
  return {
    async reserve(key, token, { holdMs, timeoutMs }, fence) {
      const fenced = fencing(fence);
      const reply = await demand<FencedOff | undefined>('reserve', key, timeoutMs, (bounds) =>
        strict.reserve(key, token, holdMs, { ...bounds, ...fenced }),
      );
      unlessStale(reply, key, fence);
    },
    async renew(key, token, { holdMs, timeoutMs }) {
      const claim = { kind: 'hold', token } as const;
      const answer = await ask('renew', key, () => renew(key, claim, holdMs, { timeoutMs }));
      return typeof answer === 'string' ? answer : 'failed';
    },
    async conclude(key, token, fill, { timeoutMs, holdMs }) {
      const { value, ttlMs = 0 } = fill ?? {};
      const entry = value && { stored: encode(value), ttlMs };
      const answer = await demand('conclude', key, timeoutMs, (bounds) =>
        strict.conclude(key, token, entry, { ...bounds, holdMs }),
      );
      if (answer === 'own' && fill !== undefined) onStored(key, fill);
      return answer;
    },
  };
}
