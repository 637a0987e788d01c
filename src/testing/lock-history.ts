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
  let inside: Holder[] = [];
  for (const event of history) {
    const { resource, fencingToken } = event;
    const others = inside.filter(({ entered }) => entered.resource === resource);
    if (event.event === 'enter') {
      const last = newest.get(resource);
      if (last !== undefined && fencingToken <= last) {
        violations.push(`${named(event)} entered after token ${last} had been seen`);
      }
      newest.set(resource, maxOf(last, fencingToken));
      for (const { met } of others) met.push(event);
      inside.push({ entered: event, met: [] });
      continue;
    }
    const holder = others.find(({ entered }) => entered.fencingToken === fencingToken);
    inside = inside.filter((each) => each !== holder);
    if (holder === undefined) violations.push(`${named(event)} left without having entered`);
    // Whoever came while this one was inside, and held to the end, broke the exclusion.
    const intruders = event.wasHeld === false ? [] : (holder?.met ?? []);
    for (const other of intruders) {
      violations.push(`${named(other)} entered while ${named(event)} held`);
    }
  }
  return violations;
}

interface Holder {
  readonly entered: LockEvent;
  /** Who entered while it was inside. */
  readonly met: LockEvent[];
}

function maxOf(one: bigint | undefined, other: bigint): bigint {
  return one !== undefined && one > other ? one : other;
}

function named({ owner, fencingToken, resource }: LockEvent): string {
  return `${owner} (token ${fencingToken} of ${JSON.stringify(resource)})`;
}
