import { type EventChannel, eventChannel } from '../../core/diagnostics.js';
import type { DeclaredGone } from './declare-gone.js';

/** Published on `tricord:site.elected`: a site waited in vain and leads a ballot to end a transaction. */
export interface SiteElectedEvent {
  /** The site. */
  readonly site: string;
  /** Which transaction. */
  readonly transactionId: string;
  /** The ballot that it leads. */
  readonly ballot: number;
}

/** Published on `tricord:site.decided`: a site knows a decision, and carries it out. */
export interface SiteDecidedEvent {
  /** The site. */
  readonly site: string;
  /** Which transaction. */
  readonly transactionId: string;
  /** The decision. */
  readonly outcome: 'committed' | 'aborted';
}

/** Published on `tricord:site.failed`: something in the background failed, and is tried again. */
export interface SiteFailedEvent {
  /** The site. */
  readonly site: string;
  /** What was tried: `write`, `send`, `vote`, `finish`, `read`, `remove`. */
  readonly operation: string;
  /** Which transaction, where it was about one. */
  readonly transactionId?: string | undefined;
  /** What it failed with. */
  readonly error: unknown;
}

/**
 * Published on `tricord:site.contradicted`: another site, or a resource, says the opposite of what was
 * decided. Somebody's storage lost what it had acknowledged, or a branch was ended by hand.
 */
export interface SiteContradictedEvent {
  /** The site. */
  readonly site: string;
  /** Which transaction. */
  readonly transactionId: string;
  /** The other site, or the participant. */
  readonly by: string;
}

/** Published on `tricord:site.declared-gone`: an operator declared a site gone. Keep it for the audit. */
export interface SiteDeclaredGoneEvent extends DeclaredGone {
  /** The site that was told. */
  readonly site: string;
  /** The site that is gone. */
  readonly gone: string;
  /** The operator's reason. */
  readonly reason: string;
}

/** The channels of sites. Channels of one name are one channel in the whole process. */
export interface SiteChannels {
  readonly elected: EventChannel<SiteElectedEvent>;
  readonly decided: EventChannel<SiteDecidedEvent>;
  readonly failed: EventChannel<SiteFailedEvent>;
  readonly contradicted: EventChannel<SiteContradictedEvent>;
  readonly declaredGone: EventChannel<SiteDeclaredGoneEvent>;
}

/** Looks up the channels by their names. */
export function siteChannels(): SiteChannels {
  return {
    elected: eventChannel('tricord:site.elected'),
    decided: eventChannel('tricord:site.decided'),
    failed: eventChannel('tricord:site.failed'),
    contradicted: eventChannel('tricord:site.contradicted'),
    declaredGone: eventChannel('tricord:site.declared-gone'),
  };
}
