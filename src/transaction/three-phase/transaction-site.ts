import type { Clock } from '../../core/clock.js';
import type { Guarantees } from '../../core/guarantees.js';
import type { Random } from '../../core/random.js';
import type { DecidedBranch } from '../decision-log.js';
import type { Participant } from '../participant.js';
import type { DeclaredGone, DeclareGoneOptions } from './declare-gone.js';
import type { SiteStats } from './site-statistics.js';
import type { SiteStorage } from './site-storage.js';
import type { SiteTransport } from './site-transport.js';
import type { SiteSeat, SiteWork } from './site-work.js';

/** Options of `createTransactionSite`. */
export interface TransactionSiteOptions {
  /**
   * The site's name, the same after every restart, and of one process at a time: 1 to 64 of
   * `[A-Za-z0-9_.-]`. A pod of a stateful set has one; `hostname()` of anything else has not.
   */
  readonly name: string;
  /** How it talks to other sites: `httpTransport`, `redisTransport`, `zookeeperTransport`. */
  readonly transport: SiteTransport;
  /**
   * Where it keeps its votes and promises: `postgresSiteStorage`, `mysqlSiteStorage`,
   * `redisSiteStorage`.
   */
  readonly storage: SiteStorage;
  /** As of the coordinator. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * How sites end a transaction whose coordinator is silent. `quorum` (default): a majority decides,
   * whatever is lost or late. `elected-backup`: all who have not crashed decide, also fewer than half;
   * only with `assume`, because a partition or one pause longer than `electionMs` ends it mixed.
   */
  readonly termination?: 'quorum' | 'elected-backup' | undefined;
  /**
   * That crashes are the only faults, are never recovered from, and that whoever is silent for
   * `electionMs` has crashed. Needed for `elected-backup`, and only there.
   */
  readonly assume?: 'synchronous-crash-stop' | undefined;
  /**
   * How long a site that voted yes waits in vain before it leads a ballot, in milliseconds, from 10;
   * up to twice that by chance, and longer after it led in vain. Default 2,000. Too short costs
   * messages and may abort what would have committed, never more.
   */
  readonly electionMs?: number | undefined;
  /** So many records at most; beyond, new transactions are refused with LOG_FULL. Default 10,000. */
  readonly recordsMax?: number | undefined;
  /** The source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
  /** The source of chance. Default cryptographically strong. */
  readonly random?: Random | undefined;
}

/** A transaction that a site has a record of. */
export interface SiteTransaction {
  /** Which transaction. */
  readonly transactionId: string;
  /** The sites by name, the coordinator first; empty while this one alone is known. */
  readonly sites: readonly string[];
  /**
   * `Q` not voted, `W` voted yes, `PC` pre-committed, `PA` pre-aborted, `C` committed, `A` aborted.
   */
  readonly state: 'Q' | 'W' | 'PC' | 'PA' | 'C' | 'A';
  /** Sites that have not carried the decision out yet, as far as this one knows. */
  readonly pending: readonly string[];
}

/**
 * A process that votes in three-phase transactions: for its coordinator's local branches, for the
 * calls that it serves, or both.
 *
 * After a restart under the same name it takes up what it had voted for. After its yes it never
 * decides alone.
 */
export interface TransactionSite {
  /** Its name. */
  readonly name: string;
  /** Whose transactions it votes in. */
  readonly namespace: string;
  /** Resolves when what an earlier life left has been read, and it answers other sites. */
  readonly ready: Promise<void>;
  /** The transactions that it has records of. */
  transactions(): readonly SiteTransaction[];
  /** Counts since the start. */
  stats(): SiteStats;
  /**
   * Declares that another site is gone for good, and its storage with it: decided transactions do not
   * wait for it any more, and their records go, here and at the other sites. It is asked for a sign of life
   * first, and one is enough to refuse: SITE_NOT_GONE.
   *
   * Undecided transactions are left alone: a majority of sites ends them, and where none is left nobody
   * can. End by hand, like the answer says, whatever the databases of that site still hold prepared. The
   * reason stands in the records and on the channel `tricord:site.declared-gone`.
   */
  declareGone(site: string, options: DeclareGoneOptions): Promise<DeclaredGone>;
  /** Reads what its storage promises. */
  guarantees(options?: { readonly signal?: AbortSignal | undefined }): Promise<Guarantees>;
  /**
   * Takes part no longer; what is undecided is left to the other sites and to the next start. Close
   * coordinators and services first. Never rejects.
   */
  close(): Promise<void>;
  /** The same. */
  [Symbol.asyncDispose](): Promise<void>;
  /** @internal */
  readonly [SITE]: SiteDesk;
}

/** Where coordinators and services find the inside of a site. */
export const SITE: unique symbol = Symbol.for('tricord.transaction.site');

/** A record of a site whose own part has not ended. */
export interface SiteDeskRecord {
  readonly transactionId: string;
  readonly decision: 'commit' | 'none' | 'unknown';
  readonly branches: readonly DecidedBranch[];
  readonly ageMs: number;
}

/** What a coordinator or a service asks of the site of its process. */
export interface SiteDesk {
  /** The site's name. */
  readonly site: string;
  /** What has voted, or was decided, and is not carried out here. */
  records(): readonly SiteDeskRecord[];
  /** Resources that can end what an earlier life left. Names are unique and stable. */
  attach(participants: ReadonlyMap<string, Participant>): void;
  /**
   * Work of a transaction began here, and somebody else coordinates it. Resolves when it is written;
   * nothing may be prepared before. Several works of one transaction vote and end together. Rejects
   * with LOG_FULL, or CLOSED; it waits for as long as the storage does not answer.
   */
  join(transactionId: string, work: SiteWork): Promise<SiteSeat>;
  /** The same, and this site coordinates it: the others have joined. */
  lead(transactionId: string, others: readonly string[], work: SiteWork): Promise<SiteSeat>;
}
