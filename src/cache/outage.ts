import type { Authority } from './authority.js';
import { type Breaker, breaker as newBreaker } from './breaker.js';
import type { DeferredWrites } from './deferred-writes.js';
import { deferringAuthority } from './deferring-authority.js';
import { cacheBreaker } from './diagnostics.js';
import { guardedAuthority } from './guarded-authority.js';
import type { CacheTierStats, TierCounter } from './stats.js';
import type { CacheSettings } from './tiers.js';

/** An authority that its cache survives. */
export interface Survived {
  readonly authority: Authority;
  /** Without invalidations that wait here. */
  readonly direct: Authority;
  /** How the tier stands. */
  state(): Pick<CacheTierStats, 'breaker' | 'deferredCount'>;
}

/** Puts before a shared tier what a cache needs when that tier is out of order. */
export function survived(settings: CacheSettings, bare: Authority, counter: TierCounter): Survived {
  const none = { breaker: undefined, deferredCount: 0 };
  if (!bare.isShared) return { authority: bare, direct: bare, state: () => none };
  const { name, clock, tierTimeoutMs, deferral } = settings;
  let deferred: DeferredWrites | undefined;
  const breaker = breakerOf(settings, counter, () => (deferred?.count ?? 0) === 0);
  const direct = breaker === undefined ? bare : guardedAuthority(bare, { breaker, counter });
  let authority = direct;
  if (deferral !== undefined) {
    const isOut = (): boolean => breaker !== undefined && breaker.state !== 'closed';
    const parts = { name, clock, counter, timeoutMs: tierTimeoutMs, ...deferral, isOut };
    ({ authority, deferred } = deferringAuthority(direct, parts));
  }
  return {
    authority,
    direct,
    state: () => ({ breaker: breaker?.state, deferredCount: deferred?.count ?? 0 }),
  };
}

function breakerOf(
  { name, clock, breaker: policy }: CacheSettings,
  { backend }: TierCounter,
  mayProbe: () => boolean,
): Breaker | undefined {
  if (policy === undefined) return undefined;
  return newBreaker({
    clock,
    policy,
    mayProbe,
    onChange: (state) => cacheBreaker.publish(() => ({ cache: name, tier: backend, state })),
  });
}
