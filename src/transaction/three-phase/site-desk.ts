import { invalidArgument } from '../../core/validate.js';
import { SITE, type SiteDesk, type TransactionSite } from './transaction-site.js';

/** The inside of a site that a user passed in. @throws TypeError (INVALID_ARGUMENT) */
export function siteDeskOf(site: unknown): SiteDesk {
  const desk = (site as Partial<TransactionSite> | undefined)?.[SITE];
  if (desk !== undefined) return desk;
  throw invalidArgument('site', site, 'what createTransactionSite({ … }) returned');
}
