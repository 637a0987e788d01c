import type { CancelTimer, Clock } from '../../core/clock.js';
import { encodeFrame, LETTERS_MAX, type SiteLetter } from './site-letters.js';
import type { SiteStatistics } from './site-statistics.js';
import type { SiteLine } from './site-transport.js';

/** What leaves a site, in frames: letters of one tick to one addressee travel together. */
export interface SitePost {
  /** Sends soon. What cannot be sent is lost, which the protocol allows. */
  send(to: string, letter: SiteLetter): void;
  /** Sends with the next letters to the same site, or after a second. */
  sendLater(to: string, letter: SiteLetter): void;
  close(): void;
}

/** So many letters to one site may wait; the oldest are lost first. */
const WAITING_MAX = 4_096;
const LATER_MS = 1_000;

interface Bag {
  readonly letters: SiteLetter[];
  readonly later: SiteLetter[];
  isDue: boolean;
  cancel: CancelTimer;
}

/** The post of one site over a transport. */
export function sitePost(options: {
  readonly site: string;
  readonly line: SiteLine;
  readonly clock: Clock;
  readonly counts: SiteStatistics;
  readonly onLost: (to: string, error: unknown) => void;
}): SitePost {
  const { site, line, clock, counts, onLost } = options;
  const bags = new Map<string, Bag>();
  let isClosed = false;

  const bagOf = (to: string): Bag => {
    const known = bags.get(to) ?? { letters: [], later: [], isDue: false, cancel: () => {} };
    bags.set(to, known);
    return known;
  };
  const flush = (to: string, bag: Bag): void => {
    bag.isDue = false;
    bag.cancel();
    const letters = [...bag.letters.splice(0), ...bag.later.splice(0)];
    bags.delete(to);
    for (let from = 0; from < letters.length && !isClosed; from += LETTERS_MAX) {
      const frame = { from: site, letters: letters.slice(from, from + LETTERS_MAX) };
      counts.sent(frame.letters);
      line.send(to, encodeFrame(frame)).catch((error: unknown) => {
        counts.lost(frame.letters.length);
        onLost(to, error);
      });
    }
  };
  return {
    send(to, letter) {
      if (isClosed) return;
      const bag = bagOf(to);
      bag.letters.push(letter);
      if (bag.letters.length > WAITING_MAX) bag.letters.shift();
      if (bag.isDue) return;
      bag.isDue = true;
      queueMicrotask(() => flush(to, bag));
    },
    sendLater(to, letter) {
      if (isClosed) return;
      const bag = bagOf(to);
      bag.later.push(letter);
      if (bag.later.length > WAITING_MAX) bag.later.shift();
      if (bag.isDue || bag.later.length > 1) return;
      bag.cancel = clock.schedule(LATER_MS, () => flush(to, bag), { keepAlive: false });
    },
    close() {
      isClosed = true;
      for (const bag of bags.values()) bag.cancel();
      bags.clear();
    },
  };
}
