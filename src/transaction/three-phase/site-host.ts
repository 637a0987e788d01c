import type { Clock } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import type { Participant } from '../participant.js';
import type { SiteChannels } from './site-diagnostics.js';
import type { SitePost } from './site-post.js';
import type { SiteStatistics } from './site-statistics.js';
import type { SiteStore } from './site-storage.js';
import type { ThreePhase } from './three-phase.js';

/** What the seats of one site share. */
export interface SiteHost {
  readonly site: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly machine: ThreePhase;
  /** Whoever is silent for `electionMs` has crashed: the synchronous model. */
  readonly isSynchronous: boolean;
  readonly electionMs: number;
  readonly store: SiteStore;
  readonly post: SitePost;
  readonly counts: SiteStatistics;
  readonly channels: SiteChannels;
  /** Resources by name: they end what an earlier life of this site left prepared. */
  readonly participants: ReadonlyMap<string, Participant>;
  /** Aborted when the site was closed. */
  readonly stopped: AbortSignal;
}

/** Tells whoever listens that something failed in the background, and will be tried again. */
export function siteFailed(
  { channels, site }: SiteHost,
  operation: string,
  error: unknown,
  transactionId?: string,
): void {
  channels.failed.publish(() => ({ site, operation, transactionId, error }));
}
