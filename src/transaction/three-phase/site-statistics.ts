import type { SiteLetter } from './site-letters.js';

/** What sites tell each other, by kind. */
export type SiteMessageKind =
  | 'can-commit'
  | 'vote'
  | 'attempt'
  | 'ack'
  | 'elect'
  | 'report'
  | 'refuse'
  | 'decided'
  | 'done'
  | 'forget';

/** What a site has done since it was created. */
export interface SiteStats {
  /** Transactions in which this site has voted yes and knows no decision. */
  readonly undecidedCount: number;
  /** Transactions that it has a record of, decided ones that are not forgotten yet included. */
  readonly recordCount: number;
  /** Decisions that it has carried out, or is carrying out. */
  readonly committedCount: number;
  /** The same of aborts. */
  readonly abortedCount: number;
  /** How often it waited in vain and led a ballot. */
  readonly electedCount: number;
  /** Records forced to disk. */
  readonly writtenCount: number;
  /** Messages sent, by kind; several may have travelled together. */
  readonly sent: Readonly<Record<SiteMessageKind, number>>;
  /** Messages received. */
  readonly receivedCount: number;
  /** Messages that the transport could not send. */
  readonly lostCount: number;
  /** Times that evidence contradicted a decision. */
  readonly contradictedCount: number;
}

/** Counts what happens at one site. */
export interface SiteStatistics {
  sent(letters: readonly SiteLetter[]): void;
  received(count: number): void;
  lost(count: number): void;
  elected(): void;
  written(): void;
  contradicted(): void;
  decided(outcome: 'committed' | 'aborted'): void;
  stats(now: Pick<SiteStats, 'undecidedCount' | 'recordCount'>): SiteStats;
}

/** Nothing counted yet. */
export function siteStatistics(): SiteStatistics {
  const sent: Record<SiteMessageKind, number> = {
    'can-commit': 0,
    vote: 0,
    attempt: 0,
    ack: 0,
    elect: 0,
    report: 0,
    refuse: 0,
    decided: 0,
    done: 0,
    forget: 0,
  };
  const counts = {
    committedCount: 0,
    abortedCount: 0,
    electedCount: 0,
    writtenCount: 0,
    receivedCount: 0,
    lostCount: 0,
    contradictedCount: 0,
  };
  return {
    sent(letters) {
      for (const { message } of letters) sent[message.type] += 1;
    },
    received(count) {
      counts.receivedCount += count;
    },
    lost(count) {
      counts.lostCount += count;
    },
    elected() {
      counts.electedCount += 1;
    },
    written() {
      counts.writtenCount += 1;
    },
    contradicted() {
      counts.contradictedCount += 1;
    },
    decided(outcome) {
      if (outcome === 'committed') counts.committedCount += 1;
      else counts.abortedCount += 1;
    },
    stats: (now) => ({ ...counts, ...now, sent: { ...sent } }),
  };
}
