/** What a serving node has done since it was created. */
export interface ServeStats {
  /** Calls whose handler is at work, or whose vote is under way. */
  readonly runningCount: number;
  /** Calls that wait for a decision. */
  readonly preparedCount: number;
  /** How many calls this node has taken. */
  readonly takenCount: number;
  /** Of these, how many another node had taken before and died with. */
  readonly takenOverCount: number;
  /** How many were answered with a yes. */
  readonly yesCount: number;
  /** How many were answered with a no. */
  readonly noCount: number;
  /** How many of the yes were committed here. */
  readonly committedCount: number;
  /** How many calls were rolled back here, after a yes or before. */
  readonly abortedCount: number;
}

/** Counts what happens to the calls of one serving node. */
export interface ServeRecorder {
  taken(attempt: number): void;
  voted(vote: 'yes' | 'no'): void;
  applied(outcome: 'committed' | 'aborted'): void;
  stats(now: Pick<ServeStats, 'runningCount' | 'preparedCount'>): ServeStats;
}

/** A recorder that has counted nothing yet. */
export function serveRecorder(): ServeRecorder {
  const counts = { taken: 0, takenOver: 0, yes: 0, no: 0, committed: 0, aborted: 0 };
  return {
    taken(attempt) {
      counts.taken += 1;
      counts.takenOver += attempt > 1 ? 1 : 0;
    },
    voted(vote) {
      counts[vote] += 1;
    },
    applied(outcome) {
      counts[outcome] += 1;
    },
    stats: (now) => ({
      ...now,
      takenCount: counts.taken,
      takenOverCount: counts.takenOver,
      yesCount: counts.yes,
      noCount: counts.no,
      committedCount: counts.committed,
      abortedCount: counts.aborted,
    }),
  };
}
