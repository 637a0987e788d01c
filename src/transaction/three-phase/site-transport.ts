import type { SiteNode } from './site-storage.js';

/**
 * How sites talk to each other, directly: not through the transaction store, which may be gone.
 *
 * Little is asked of it. A message may be lost, delayed, repeated, or overtaken; it must not be
 * changed, nor be made up by a stranger, nor be given to another site. Sites ask again.
 *
 * A transport passes `siteTransportContract` of `tricord/testing`.
 */
export interface SiteTransport {
  /** Which backend, for messages and metrics. */
  readonly backend: string;
  /**
   * Listens for a site, from now on, and calls `receive` for each message. One process at a time
   * listens for a name. Never throws for a backend that is away: it listens when that is back.
   */
  open(site: SiteNode, receive: (text: string) => void): SiteLine;
}

/** A transport in the service of one site. */
export interface SiteLine {
  /**
   * Sends a text of at most 65,536 characters to a site. Resolves when it is on its way; rejects when
   * it certainly is not, or nobody knows. Bounded in time.
   */
  send(to: string, text: string): Promise<void>;
  /** Listens no longer, and ends what the line opened. Never rejects. */
  close(): Promise<void>;
}
