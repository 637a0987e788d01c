import { abortScope } from '../core/abort.js';
import { elapsedMs, instantOf } from '../core/clock.js';
import type { Loader } from './cache.js';
import { keepClaim, newToken } from './claims.js';
import type { Deck } from './deck.js';
import { cacheFillRefused } from './diagnostics.js';
import type { LocalValue } from './driver.js';
import { callLoader, NOT_KEPT } from './load-call.js';
import { keepNear } from './near.js';
import { stampFill, tagsBefore } from './tagging.js';

/** So many keys are loaded anew at once; others stay stale until they are asked for again. */
const RUNNING_MAX = 256;
/** So many keys are remembered whose load failed; the oldest are forgotten. */
const FAILURES_MAX = 10_000;

/** What is loaded anew, and with what. */
export interface RefreshRequest {
  readonly key: string;
  readonly loader: Loader<unknown>;
  readonly ttlMs: number;
  readonly tags: readonly string[];
  readonly stale: LocalValue;
}

/**
 * Loads a key in the background while others are answered with what there is: once in this process,
 * and, where the tier gives leases for it, once among all nodes. Never rejects: a failure leaves the
 * old entry, and is not tried again for `errorBackoffMs`.
 */
export function startRefresh(deck: Deck, request: RefreshRequest): void {
  const { refreshes, gate } = deck;
  const { running } = refreshes;
  const { key } = request;
  const isBusy = running.has(key) || running.size >= RUNNING_MAX;
  if (isBusy || gate.isClosed || isBackingOff(deck, key)) return;
  running.add(key);
  gate
    .run(() => refresh(deck, request))
    .then(
      () => refreshes.failures.delete(key),
      () => noteFailure(deck, key),
    )
    .finally(() => running.delete(key));
}

/** Whether the load of a key failed so lately that the stale entry is answered without another. */
export function isBackingOff({ refreshes: { failures }, settings }: Deck, key: string): boolean {
  const since = failures.get(key);
  if (since === undefined) return false;
  if (elapsedMs(settings.clock, since) < settings.errorBackoffMs) return true;
  failures.delete(key);
  return false;
}

/** Remembers that a load failed, or took too long. */
export function noteFailure({ refreshes: { failures }, settings }: Deck, key: string): void {
  failures.delete(key);
  failures.set(key, instantOf(settings.clock));
  const [oldest] = failures.size > FAILURES_MAX ? failures.keys() : [];
  if (oldest !== undefined) failures.delete(oldest);
}

async function refresh(deck: Deck, request: RefreshRequest): Promise<void> {
  const { tiers, settings, refreshes, counters } = deck;
  const { authority, near } = tiers;
  const { clock, random, tierTimeoutMs, timeoutMs, name } = settings;
  const { key } = request;
  const ticket = near?.begin(key);
  const token = newToken(random);
  let stop = (): void => {};
  try {
    const answer = await authority.lease(key, token, tierTimeoutMs, true);
    if (answer.state !== 'leader') return;
    stop = keepClaim(deck, key, { kind: 'lease', token });
    const since = instantOf(clock);
    using scope = abortScope({ clock, parents: [refreshes.ending.signal], timeoutMs });
    const expected = [...request.tags, ...(request.stale.tags ?? []).map(({ tag }) => tag)];
    const before = await tagsBefore(deck, answer.epoch, Array.from(new Set(expected)));
    const loaded = await callLoader(deck, { ...request, scope });
    stop();
    const stamped = await stampFill(deck, loaded, before);
    const fill = typeof stamped === 'string' ? NOT_KEPT : stamped;
    const filled = await authority.fill(key, token, fill, tierTimeoutMs);
    if (filled === 'accepted') keepNear(deck, ticket, fill.value, { since, forMs: fill.ttlMs });
    if (filled !== 'refused' && stamped !== 'moved') return;
    counters.refusedFillCount += 1;
    cacheFillRefused.publish(() => ({ cache: name, key }));
  } catch (error) {
    authority.fill(key, token, { value: undefined, ttlMs: 0 }, tierTimeoutMs).catch(() => {});
    throw error;
  } finally {
    stop();
    if (ticket !== undefined) near?.end(ticket);
  }
}
