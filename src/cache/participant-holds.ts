import { createHash } from 'node:crypto';
import { onAbort } from '../core/abort.js';
import { CoordinationError } from '../core/errors.js';
import { keepClaim } from './claims.js';
import type { Deck } from './deck.js';
import { cacheInvalidated } from './diagnostics.js';
import { strictHolds } from './participant-strict.js';
import { strictDeckOf } from './strict-writing.js';

/** What one branch invalidates, as it stands in a commit record. */
export interface Invalidations {
  readonly keys: readonly string[];
  readonly tags: readonly string[];
  /** When it was prepared, by the wall clock of its process, in milliseconds. */
  readonly preparedAtMs: number;
}

/** The keys that branches of this process hold, and the end of any branch. */
export interface HeldKeys {
  /** Removes the entry of a key and holds it, until `finish`. */
  hold(branchId: string, key: string, fence: bigint | undefined): Promise<void>;
  /**
   * Removes and lets go; without invalidations what this process knows of. Rejects with
   * CACHE_TIER_UNREACHABLE unless what was to be removed has ended by itself.
   */
  finish(branchId: string, invalidations: Invalidations | undefined): Promise<void>;
}

const FORMAT = 1;
const TOKEN_LENGTH = 22;
/** So many keys are asked for at once. */
const AT_ONCE_MAX = 32;

/** Every process derives the token of a branch's holds from its id, so that any of them can let go. */
function tokenOf(branchId: string): string {
  return createHash('sha256').update(branchId).digest('base64url').slice(0, TOKEN_LENGTH);
}

/** No keys held yet. */
export function heldKeys(
  deck: Deck,
  { forgetAfterMs }: { readonly forgetAfterMs: number },
): HeldKeys {
  const { settings, tiers, refreshes, renewals } = deck;
  const { name, clock, timeoutMs } = settings;
  // What waits in a process is lost with it: a commit must not be acknowledged for it.
  const { direct: authority, near } = tiers;
  const keeper = { tiers: { authority }, settings, renewals };
  const strict = strictDeckOf(deck);
  const writes = strict && strictHolds(strict);
  const known = new Map<string, Map<string, () => void>>();
  // A closed cache holds nothing on; what it held ends by itself, or with the transaction.
  onAbort(refreshes.ending.signal, () => {
    for (const ofBranch of known.values()) for (const stop of ofBranch.values()) stop();
  });

  const release = async (key: string, token: string): Promise<void> => {
    near?.delete(key);
    try {
      if (writes === undefined) await authority.invalidate(key, token, timeoutMs);
      else await writes.release(key, token);
    } finally {
      near?.delete(key);
    }
    cacheInvalidated.publish(() => ({ cache: name, key, by: 'transaction' }));
  };
  const renew = async (tags: readonly string[]): Promise<void> => {
    if (tags.length === 0) return;
    try {
      await authority.tags?.renew(tags, timeoutMs);
      await writes?.waitOut();
    } finally {
      for (const tag of tags) near?.tags.renewed(tag);
    }
    cacheInvalidated.publish(() => ({ cache: name, key: undefined, tags, by: 'transaction' }));
  };
  return {
    async hold(branchId, key, fence) {
      const token = tokenOf(branchId);
      const ofBranch = known.get(branchId) ?? new Map<string, () => void>();
      known.set(branchId, ofBranch);
      // Before the request: when its answer is lost, it may be held all the same.
      ofBranch.set(key, () => {});
      near?.delete(key);
      try {
        if (writes === undefined) await authority.hold(key, token, timeoutMs, fence);
        else await writes.hold(key, token, fence);
      } finally {
        near?.delete(key);
      }
      if (writes !== undefined) {
        if (known.get(branchId) === ofBranch) ofBranch.set(key, () => writes.stop(key, token));
        else writes.stop(key, token);
        return;
      }
      const claim = { kind: 'hold', token } as const;
      // A branch that was ended meanwhile must not hold on.
      if (known.get(branchId) !== ofBranch) return;
      ofBranch.set(key, keepClaim(keeper, key, claim));
    },
    async finish(branchId, invalidations) {
      const ofBranch = known.get(branchId);
      known.delete(branchId);
      for (const stop of ofBranch?.values() ?? []) stop();
      const token = tokenOf(branchId);
      const keys = invalidations?.keys ?? Array.from(ofBranch?.keys() ?? []);
      try {
        for (let from = 0; from < keys.length; from += AT_ONCE_MAX) {
          const some = keys.slice(from, from + AT_ONCE_MAX);
          await Promise.all(some.map((key) => release(key, token)));
        }
        await renew(invalidations?.tags ?? []);
      } catch (error) {
        const { preparedAtMs = Number.POSITIVE_INFINITY } = invalidations ?? {};
        if (clock.wallMs() - preparedAtMs < forgetAfterMs) throw error;
      }
    },
  };
}

/** The text for a commit record. */
export function evidenceOf({ keys, tags, preparedAtMs }: Invalidations): string {
  return JSON.stringify([FORMAT, preparedAtMs, keys, tags]);
}

/** What a commit record says. */
export function invalidationsIn(name: string, branchId: string, evidence: string): Invalidations {
  const where = `the evidence of branch ${branchId} of participant "${name}"`;
  const found = evidence.slice(0, 40);
  const [format, preparedAtMs, keys, tags] = partsOf(evidence);
  if (Number.isInteger(format) && (format as number) > FORMAT) {
    const message = `${where} is in format ${format}; this release reads format ${FORMAT}: upgrade it`;
    const details = { where, found: String(format), supported: String(FORMAT) };
    throw new CoordinationError('UPGRADE_NEEDED', message, details);
  }
  const isOurs = format === FORMAT && Number.isFinite(preparedAtMs);
  if (!isOurs || !isTexts(keys) || !isTexts(tags)) {
    throw new CoordinationError('DATA_CORRUPT', `${where} was not written by tricord`, {
      where,
      found,
    });
  }
  return { keys, tags, preparedAtMs: preparedAtMs as number };
}

function partsOf(evidence: string): readonly unknown[] {
  try {
    const parts: unknown = JSON.parse(evidence);
    return Array.isArray(parts) ? parts : [];
  } catch {
    return [];
  }
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
