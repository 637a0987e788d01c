import { abortable, throwIfAborted } from '../core/abort.js';
import { GUARANTEE_LEVELS, type GuaranteeLevel } from '../core/guarantees.js';
import { assertParticipantName } from '../core/participant-name.js';
import { assertNumber, assertOptions, invalidArgument } from '../core/validate.js';
import type { Participant, ParticipantCallOptions } from '../transaction/participant.js';
import type { Cache } from './cache.js';
import { insideOf } from './deck-registry.js';
import { type CacheBranch, cacheBranch } from './participant-branch.js';
import { heldKeys, invalidationsIn } from './participant-holds.js';

/** Options of {@link cacheParticipant}. */
export interface CacheParticipantOptions {
  /** Unique and stable for ever: it stands in commit records. 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly name: string;
  /** A cache of `createCache`; every process that recovers has one of the same name and tiers. */
  readonly cache: Pick<Cache<unknown>, 'name'>;
  /**
   * What prepare does when the cache's tier cannot be reached: `abort` votes no; `proceed` votes yes
   * without a hold, so that the old value may be read until the invalidation comes through after the
   * commit. Default `abort`.
   */
  readonly onUnreachable?: 'abort' | 'proceed' | undefined;
  /**
   * After so long from prepare, in milliseconds, a commit that the tier still does not acknowledge is
   * done all the same: what it was to remove has ended by itself. So a dead cache never pins a commit
   * record. Default: the cache's `ttlMs` and the longer of `staleMs` and `staleIfErrorMs`; give the
   * longest where entries have a life of their own.
   */
  readonly forgetAfterMs?: number | undefined;
  /**
   * The worst event after which what was removed from the tier stays removed; you vouch for it, as the
   * tier is not asked. It counts where a coordinator has a `requireGuarantee`. A server that forgets
   * everything when it stops is as good as one that keeps everything; one that comes back with an
   * older copy (Redis' snapshots, a replica that lagged behind) may answer a removed entry until its
   * TTL. Default `none`.
   */
  readonly survives?: GuaranteeLevel | undefined;
}

/**
 * A cache as a participant of transactions: what they change in a database they invalidate here,
 * also when their process dies in between.
 *
 * ```ts
 * const pages = cacheParticipant({ name: 'pages', cache: catalog });
 * await coordinator.run({ resourceId: 'sku:42' }, async (tx) => {
 *   await (await tx.enlist(prices)).query('update prices …');
 *   await (await tx.enlist(pages)).delete('sku:42');
 * });
 * ```
 *
 * Prepare removes the entries and holds their keys: reads go to the source and store nothing, as with
 * `Cache.update`. Commit, which comes after every other branch of the transaction has committed, and
 * abort remove them again and let go; both may be sent any number of times, by any process: the keys
 * stand in the commit record. The hold of a process that died ends after `leaseMs`; the entry that
 * somebody fills then is removed by the recovery of the transaction.
 *
 * It can always keep a yes, holds nothing back for anybody, and lists no branches: what is left of one
 * that nobody decided goes by itself.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed name, another object than a cache of
 * `createCache`, and options out of their bounds.
 */
export function cacheParticipant(options: CacheParticipantOptions): Participant<CacheBranch> {
  assertOptions(options, '{ name, cache }');
  const { name, cache, onUnreachable = 'abort', survives = 'none' } = options;
  assertParticipantName(name);
  const deck = insideOf(cache)?.deck;
  if (deck === undefined) throw invalidArgument('cache', cache, 'a cache of createCache');
  if (onUnreachable !== 'abort' && onUnreachable !== 'proceed') {
    throw invalidArgument('onUnreachable', onUnreachable, "'abort' or 'proceed'");
  }
  if (!GUARANTEE_LEVELS.includes(survives)) {
    throw invalidArgument('survives', survives, `one of ${GUARANTEE_LEVELS.join(', ')}`);
  }
  const { settings, tiers, gate } = deck;
  const { staleMs, staleIfErrorMs } = settings.aging;
  const { forgetAfterMs = settings.ttlMs + Math.max(staleMs, staleIfErrorMs) } = options;
  assertNumber('forgetAfterMs', forgetAfterMs, { min: 0 });
  const held = heldKeys(deck, { forgetAfterMs });
  const backend = tiers.stats().at(-1)?.backend ?? '';
  const bounded = <Result>(
    call: ParticipantCallOptions | undefined,
    work: () => Promise<Result>,
  ): Promise<Result> => {
    throwIfAborted(call?.signal);
    return gate.run(() => abortable(work(), call?.signal));
  };
  return {
    name,
    backend,
    commitsAfterOthers: true,
    enlist: async (context) =>
      bounded(context, async () => cacheBranch({ name, held, onUnreachable, deck }, context)),
    async commit({ branchId, evidence }, call) {
      const invalidations = invalidationsIn(name, branchId, evidence);
      return bounded(call, () => held.finish(branchId, invalidations));
    },
    async abort({ branchId, evidence }, call) {
      // Without evidence nobody knows its keys here; their holds end by themselves.
      const invalidations = evidence === '' ? undefined : invalidationsIn(name, branchId, evidence);
      return bounded(call, () => held.finish(branchId, invalidations));
    },
    recover: async () => [],
    outcome: async () => 'unknown',
    async guarantees() {
      const promises = ['an invalidation is repeated until it is acknowledged or has no object'];
      const warning =
        `${backend} is not asked what it keeps: one that comes back with an older copy may answer ` +
        'removed entries until their TTL; vouch for it with `survives`';
      const warnings = survives === 'none' ? [warning] : [];
      return { subject: `cache ${name}`, survives, promises, warnings, settings: {} };
    },
    async close() {},
  };
}
