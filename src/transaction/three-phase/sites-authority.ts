import { parseTransactionId } from '../../core/ids.js';

/**
 * What stands in the place of a decision log in the ids of three-phase transactions: the decision lives
 * with the sites. No log may have this name, so that whoever finds such a branch presumes nothing.
 */
export const SITES_AUTHORITY = 'sites';

/** Whether a transaction's decision lives with its sites. */
export function isSitesTransaction(transactionId: string): boolean {
  return parseTransactionId(transactionId)?.authority === SITES_AUTHORITY;
}
