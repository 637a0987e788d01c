import type { FillTicket } from '../../cache/driver.js';
import { FewMap } from '../../core/few-map.js';

/** The tickets that are out; see `LocalStore.begin`. Nothing is kept for a key without one. */
export interface FillTickets {
  begin(key: string): FillTicket;
  end(ticket: FillTicket): void;
  /** Voids the tickets of a key. */
  void(key: string): void;
  voidAll(): void;
}

/** Those who asked for one key since it was voided last share a ticket, which is counted. */
interface Round extends FillTicket {
  count: number;
}

/** Tickets, none of them out yet; `now` tells the moment of a new one. */
export function fillTickets(now: () => number): FillTickets {
  const rounds = new FewMap<string, Round>();
  return {
    begin(key) {
      const present = rounds.get(key);
      if (present !== undefined) {
        present.count += 1;
        return present;
      }
      const round: Round = { key, isVoid: false, moment: now(), count: 1 };
      rounds.set(key, round);
      return round;
    },
    end(ticket) {
      const round = rounds.get(ticket.key);
      if (round !== ticket || round === undefined) return;
      round.count -= 1;
      if (round.count === 0) rounds.delete(ticket.key);
    },
    void(key) {
      const round = rounds.get(key);
      if (round === undefined) return;
      round.isVoid = true;
      rounds.delete(key);
    },
    voidAll() {
      for (const round of rounds.values()) round.isVoid = true;
      rounds.clear();
    },
  };
}
