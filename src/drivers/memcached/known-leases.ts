import type { Change, Target } from './items.js';

/** A lease of this process, as the server had it when it was won or renewed last. */
export interface KnownLease extends Target {
  readonly generation: string;
}

/** Leases of this process by token, so that a fill need not look for its lease first. */
export interface KnownLeases {
  set(token: string, lease: KnownLease): void;
  /** Takes note of a lease that was written; false when it was not, or in an outdated generation. */
  note(token: string, generation: string, change: Change): boolean;
  /** The lease, to be used once; undefined when it is not known, or its connection has closed. */
  take(token: string): KnownLease | undefined;
}

/** The oldest are forgotten beyond so many: their fills look first. */
const KNOWN_MAX = 10_000;

/** None yet. */
export function knownLeases(): KnownLeases {
  const leases = new Map<string, KnownLease>();
  const set = (token: string, lease: KnownLease): void => {
    leases.set(token, lease);
    if (leases.size <= KNOWN_MAX) return;
    for (const oldest of leases.keys()) {
      leases.delete(oldest);
      return;
    }
  };
  return {
    set,
    note(token, generation, change) {
      if (change.state !== 'done' || change.answer.generation !== generation) return false;
      const { cas, answer } = change;
      if (cas !== undefined) set(token, { cas, connection: answer.connection, generation });
      return true;
    },
    take(token) {
      const lease = leases.get(token);
      leases.delete(token);
      return lease?.connection.isOpen ? lease : undefined;
    },
  };
}
