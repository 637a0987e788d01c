import { CoordinationError } from '../../core/errors.js';

/** How many consecutive tokens one zxid gives: its multiple up to the next one's. */
export const TOKENS_PER_ZXID = 1_024;

/**
 * The first token of the block that belongs to a zxid.
 *
 * The zxid of the listing that grants (the parent's pzxid) lies above the predecessor's delete, which
 * lies above everything that the predecessor wrote: so blocks of later grants lie above those of
 * earlier ones. Not the place's own czxid, which is older than the holder's refills, and not its
 * sequence, which restarts when the container goes.
 */
export function firstTokenOf(zxid: number): bigint {
  // The client hands zxids over as doubles: above 2^53 two of them could look the same.
  if (Number.isSafeInteger(zxid) && zxid > 0) return BigInt(zxid) * BigInt(TOKENS_PER_ZXID);
  throw new CoordinationError(
    'BACKEND_UNSUPPORTED',
    `ZooKeeper's zxid ${zxid} is not a whole number below 2^53, so it gives no exact fencing token`,
    {
      backend: 'zookeeper',
      setting: 'zxid',
      found: String(zxid),
      needed: 'an ensemble with fewer than 2,097,152 leader elections in its life',
    },
  );
}
