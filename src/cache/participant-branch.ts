import { CoordinationError, isCoordinationError } from '../core/errors.js';
import { parseFencingToken } from '../core/fencing-token.js';
import { invalidArgument } from '../core/validate.js';
import type { Branch, BranchContext, Vote } from '../transaction/participant.js';
import { assertKey, assertTags } from './arguments.js';
import type { CacheFencedOptions } from './cache.js';
import type { Deck } from './deck.js';
import { evidenceOf, type HeldKeys, type Invalidations } from './participant-holds.js';

/** What the body of a transaction works with in a cache. */
export interface CacheBranch {
  /**
   * Notes that the transaction changes what the key stands for. Its entry is removed and the key held
   * at prepare, and removed again and let go after the commit. With a `fencingToken`, prepare votes no
   * when the key has seen a newer one.
   *
   * @throws CoordinationError BRANCH_ENDED after the transaction; TypeError (INVALID_ARGUMENT) for what
   * is no key, and beyond 1,000 keys and tags or 32 KiB of them.
   */
  delete(key: string, options?: CacheFencedOptions): Promise<void>;
  /** Notes that what carries the tag is to be invalidated after the commit. Throws as `delete` does. */
  invalidateTag(tag: string): Promise<void>;
}

/** What a branch is part of. */
export interface CacheBranchParts {
  readonly name: string;
  readonly held: HeldKeys;
  readonly onUnreachable: 'abort' | 'proceed';
  readonly deck: Deck;
}

const NOTED_MAX = 1_000;
const NOTED_BYTES_MAX = 32_768;

/** One branch in the process that began it. */
export function cacheBranch(
  { name, held, onUnreachable, deck }: CacheBranchParts,
  { branchId }: BranchContext,
): Branch<CacheBranch> {
  const { clock } = deck.settings;
  const keys = new Map<string, bigint | undefined>();
  const tags = new Set<string>();
  let isEnded = false;
  let prepared: Invalidations | undefined;
  let bytes = 0;
  const note = (what: string, add: () => void): void => {
    if (isEnded) {
      const message = `the branch of cache participant "${name}" has ended with its transaction`;
      throw new CoordinationError('BRANCH_ENDED', message, { participant: name });
    }
    bytes += Buffer.byteLength(what) + 3;
    if (keys.size + tags.size >= NOTED_MAX || bytes > NOTED_BYTES_MAX) {
      const remedy = `at most ${NOTED_MAX} keys and tags, of ${NOTED_BYTES_MAX} bytes together`;
      throw invalidArgument('key', what, `${remedy}, in one branch; or a tag that they share`);
    }
    add();
  };
  const handle: CacheBranch = {
    async delete(key, { fencingToken } = {}) {
      assertKey(key);
      const fence =
        fencingToken === undefined ? undefined : parseFencingToken(fencingToken, 'fencingToken');
      note(key, () => keys.set(key, fence ?? keys.get(key)));
    },
    async invalidateTag(tag) {
      assertTags(deck, [tag]);
      note(tag, () => tags.add(tag));
    },
  };
  const end = (): Promise<void> => {
    isEnded = true;
    return held.finish(branchId, prepared);
  };
  return {
    handle,
    async prepare() {
      isEnded = true;
      if (keys.size + tags.size === 0) return { vote: 'read-only' };
      const holding = Array.from(keys, ([key, fence]) => held.hold(branchId, key, fence));
      const vote = voteOn(await Promise.allSettled(holding), onUnreachable);
      if (vote !== undefined) return vote;
      prepared = { keys: Array.from(keys.keys()), tags: [...tags], preparedAtMs: clock.wallMs() };
      return { vote: 'yes', evidence: evidenceOf(prepared) };
    },
    commit: end,
    abort: end,
  };
}

/** Undefined: all keys are held, or may do without. */
function voteOn(
  holds: readonly PromiseSettledResult<void>[],
  onUnreachable: 'abort' | 'proceed',
): Vote | undefined {
  for (const hold of holds) {
    if (hold.status === 'fulfilled') continue;
    const cause: unknown = hold.reason;
    const isUnreached = isCoordinationError(cause, 'CACHE_TIER_UNREACHABLE');
    if (isUnreached && onUnreachable === 'proceed') continue;
    const reason = cause instanceof Error ? cause.message : String(cause);
    return { vote: 'no', reason, cause };
  }
  return undefined;
}
