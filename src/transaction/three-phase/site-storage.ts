import type { Clock } from '../../core/clock.js';
import type { Guarantees } from '../../core/guarantees.js';
import type { Random } from '../../core/random.js';
import type { LogCallOptions } from '../decision-log.js';

/**
 * Where a site keeps what it may not forget: its votes, its promises to leaders, the decisions.
 *
 * A write that was acknowledged is there after every crash that `guarantees()` name: a site speaks
 * only of what is written, so a storage that forgets breaks atomicity. Several processes may share a
 * storage; each record is changed by whoever names its version.
 *
 * A storage passes `siteStorageContract` of `tricord/testing`.
 */
export interface SiteStorage {
  /** Which backend, for messages and metrics. */
  readonly backend: string;
  /** Serves one site. Sends nothing yet. */
  open(site: SiteNode): SiteStore;
}

/** Which site a storage or a transport serves. */
export interface SiteNode {
  /** The site's name, the same in every life: 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly site: string;
  /** Whose transactions these are. */
  readonly namespace: string;
  /** The source of time. */
  readonly clock: Clock;
  /** The source of chance. */
  readonly random: Random;
}

/** One record: the site's part of one transaction. */
export interface StoredSite {
  /** Which transaction. */
  readonly transactionId: string;
  /** 1 for the first write, one more with each. */
  readonly version: number;
  /** What is kept, at most 65,536 characters. */
  readonly text: string;
}

/** A storage in the service of one site. Every operation may be sent twice. */
export interface SiteStore {
  /**
   * Writes a record over the one that is a version older, or, for version 1, where there is none; and
   * forces it to disk. 'written' also when that very record stands there already, so that a write
   * whose reply was lost can be sent again. 'conflict': another one stands there, or none.
   *
   * Rejects with RESULT_UNKNOWN or BACKEND_UNAVAILABLE; the site asks again.
   */
  write(record: StoredSite, options?: LogCallOptions): Promise<'written' | 'conflict'>;
  /** The record as of now, linearizably. */
  read(transactionId: string, options?: LogCallOptions): Promise<StoredSite | undefined>;
  /** Records in the order of their ids, after `after`, at most `limit`. */
  list(after: string, limit: number, options?: LogCallOptions): Promise<readonly StoredSite[]>;
  /** Removes the record if it is of this version. */
  remove(transactionId: string, version: number, options?: LogCallOptions): Promise<void>;
  /** Reads the backend's live configuration. */
  guarantees(options?: LogCallOptions): Promise<Guarantees>;
  /** Ends what the store opened. Never rejects. */
  close(): Promise<void>;
}
