/** What was observed of one resource, in the order in which it was observed. */
export interface LockEvent {
  readonly event: 'enter' | 'leave';
  readonly resource: string;
  readonly fencingToken: bigint;
  /** Who, for the message. */
  readonly owner: string;
  /** Whether the holder still believed to hold when it left; a lost lease may overlap the next. */
  readonly wasHeld?: boolean | undefined;
}

/**
 * The violations in a history of exclusive locks, one sentence each; none for a correct lock.
 *
 * Mutual exclusion modulo fence: a holder may meet another one only if its own lease was lost, and
 * the newer of them then carries the higher token, so that a fenced resource refuses the older.
 */
export function lockViolations(history: readonly LockEvent[]): string[] {
  const violations: string[] = [];
  const newest = new Map<string, bigint>();
  const inside = new Map<string, LockEvent[]>();
  for (const event of history) {
    const others = inside.get(event.resource) ?? [];
    inside.set(event.resource, others);
    if (event.event === 'enter') {
      const last = newest.get(event.resource);
      if (last !== undefined && event.fencingToken <= last) {
        violations.push(`${named(event)} entered after token ${last} had been seen`);
      }
      newest.set(event.resource, maxOf(last, event.fencingToken));
      others.push(event);
      continue;
    }
    const index = others.findIndex((other) => other.fencingToken === event.fencingToken);
    if (index < 0) violations.push(`${named(event)} left without having entered`);
    else others.splice(index, 1);
    // Whoever entered later, while this one was inside and held to the end, broke the exclusion.
    const overlapping = others.filter((other) => other.fencingToken > event.fencingToken);
    for (const other of event.wasHeld === false ? [] : overlapping) {
      violations.push(`${named(other)} entered while ${named(event)} held`);
    }
  }
  return violations;
}

function maxOf(one: bigint | undefined, other: bigint): bigint {
  return one !== undefined && one > other ? one : other;
}

function named({ owner, fencingToken, resource }: LockEvent): string {
  return `${owner} (token ${fencingToken} of ${JSON.stringify(resource)})`;
}
