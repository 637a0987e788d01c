import { CoordinationError } from '../../core/errors.js';
import type { LockMode } from '../../lock/driver.js';

/**
 * A place in line: one ephemeral sequential znode, named `‹grantId›-‹x|s|c›‹permits›-‹sequence›`. The
 * name carries all that decides about a grant, so that one listing is enough.
 */
export interface Place {
  readonly name: string;
  readonly grantId: string;
  readonly mode: LockMode;
  readonly permits: number;
  readonly sequence: number;
}

/** What asks for a place. */
export interface PlaceRequest {
  readonly grantId: string;
  readonly mode: LockMode;
  readonly permits: number;
}

const LETTER_OF = { exclusive: 'x', shared: 's', counting: 'c' } as const;
const MODE_OF: ReadonlyMap<string, LockMode> = new Map([
  ['x', 'exclusive'],
  ['s', 'shared'],
  ['c', 'counting'],
]);
// The sequence is a signed 32-bit number in ten digits; it goes on at -2147483648.
const NAME = /^([\w.-]+)-([xsc])(\d{1,10})-(-?\d{9,10})$/;

/** The name to create; the server appends the sequence. */
export function placePrefix({ grantId, mode, permits }: PlaceRequest): string {
  return `${grantId}-${LETTER_OF[mode]}${permits}-`;
}

/** The line in the order of service. Refuses names of a newer release with UPGRADE_NEEDED. */
export function lineOf(names: readonly string[], where: string): readonly Place[] {
  return names.map((name) => placeOf(name, where)).sort(inOrder);
}

function placeOf(name: string, where: string): Place {
  const [, grantId = '', letter = '', permits = '', sequence = ''] = NAME.exec(name) ?? [];
  const mode = MODE_OF.get(letter);
  if (mode !== undefined) {
    return { name, grantId, mode, permits: Number(permits), sequence: Number(sequence) };
  }
  const supported = '‹grantId›-‹x|s|c›‹permits›-‹sequence›';
  throw new CoordinationError(
    'UPGRADE_NEEDED',
    `${where} has a child ${JSON.stringify(name.slice(0, 80))}, which is not of the form ` +
      `${supported}: a newer release of tricord wrote it; upgrade this node`,
    { where, found: name, supported },
  );
}

/** Compares as a 32-bit counter that wraps: whatever is less than half the range ahead is later. */
function inOrder(one: Place, other: Place): number {
  return (one.sequence - other.sequence) | 0;
}

/** Whether a place holds, and if not, which places in front of it to watch. */
export type Standing =
  | { readonly state: 'holds'; readonly waiters: number }
  | { readonly state: 'waits'; readonly behind: readonly Place[] }
  /** The place is gone: somebody removed it, or its session ended. */
  | { readonly state: 'gone' };

/**
 * The standing of a place among all. First come, first served: a place holds when those in front
 * leave it room. To watch: for a writer its predecessor alone, for a reader the last writer in front,
 * so that no change wakes more than it must; when counting, those in front, at most `capacity`.
 */
export function standingOf(line: readonly Place[], grantId: string, capacity: number): Standing {
  const index = line.findIndex((place) => place.grantId === grantId);
  const own = line[index];
  if (own === undefined) return { state: 'gone' };
  const inFront = line.slice(0, index);
  const behind = blockersOf(own, inFront, capacity);
  if (behind.length > 0) return { state: 'waits', behind };
  return { state: 'holds', waiters: waitersBehind(line, index) };
}

function blockersOf(own: Place, inFront: readonly Place[], capacity: number): readonly Place[] {
  switch (own.mode) {
    case 'exclusive':
      return inFront.slice(-1);
    case 'shared':
      return inFront.filter(({ mode }) => mode === 'exclusive').slice(-1);
    case 'counting': {
      const used = inFront.reduce((sum, { permits }) => sum + permits, 0);
      return used + own.permits <= capacity ? [] : inFront.slice(0, capacity);
    }
  }
}

/** Who cannot hold beside the place at `index`: from the first that it blocks to the end. */
function waitersBehind(line: readonly Place[], index: number): number {
  const own = line[index];
  if (own?.mode !== 'shared') return line.length - index - 1;
  const writer = line.findIndex(({ mode }, at) => at > index && mode === 'exclusive');
  return writer === -1 ? 0 : line.length - writer;
}

/** How many places at the head hold, for showing. */
export function holderCount(line: readonly Place[], capacity: number): number {
  const waiting = line.findIndex(
    ({ grantId }) => standingOf(line, grantId, capacity).state === 'waits',
  );
  return waiting === -1 ? line.length : waiting;
}
