import { CoordinationError } from '../../core/errors.js';
import type { LockMode } from '../../lock/driver.js';

/**
 * A place in line: one ephemeral sequential znode, named `‹grantId›-x1-‹sequence›` for a writer, `s1`
 * for a reader, `c‹permits›of‹capacity›` where permits are counted. The name carries all that decides
 * about a grant, so that one listing is enough.
 */
export interface Place {
  readonly name: string;
  readonly grantId: string;
  readonly mode: LockMode;
  readonly permits: number;
  readonly capacity: number;
  readonly sequence: number;
}

/**
 * What a grant with a lock delay leaves beside its place: a persistent znode `‹grantId›-d‹ms›`. Where
 * it stands alone, its grant ended without a release, and nobody is granted for so long after that.
 */
export interface Guard {
  readonly name: string;
  readonly grantId: string;
  readonly delayMs: number;
}

/** The children of a lock's directory, as one listing showed them. */
export interface Line {
  /** In the order of arrival. */
  readonly places: readonly Place[];
  readonly guards: readonly Guard[];
}

/** What asks for a place. */
export type PlaceRequest = Pick<Place, 'grantId' | 'mode' | 'permits' | 'capacity'>;

const MODE_OF: ReadonlyMap<string, LockMode> = new Map([
  ['x', 'exclusive'],
  ['s', 'shared'],
  ['c', 'counting'],
]);
// The sequence is a signed 32-bit number in ten digits; it goes on at -2147483648.
const PLACE = /^([\w.-]+)-(?:([xs])1|(c)(\d{1,10})of(\d{1,10}))-(-?\d{9,10})$/;
const GUARD = /^([\w.-]+)-d(\d{1,12})$/;
const NOTICE = /^[\w.-]+-f$/;

/** The name to create; the server appends the sequence. */
export function placePrefix({ grantId, mode, permits, capacity }: PlaceRequest): string {
  switch (mode) {
    case 'exclusive':
      return `${grantId}-x1-`;
    case 'shared':
      return `${grantId}-s1-`;
    case 'counting':
      return `${grantId}-c${permits}of${capacity}-`;
  }
}

/** The name of the guard of a grant with a lock delay. */
export function guardName(grantId: string, lockDelayMs: number): string {
  return `${grantId}-d${Math.ceil(lockDelayMs)}`;
}

/** The name of the znode that tells a holder why its grant was ended by force. */
export function noticeName(grantId: string): string {
  return `${grantId}-f`;
}

/** Reads a listing; UPGRADE_NEEDED for a name of another form. */
export function lineOf(names: readonly string[], where: string): Line {
  const places: Place[] = [];
  const guards: Guard[] = [];
  for (const name of names) {
    const place = placeOf(name);
    const guard = place === undefined ? GUARD.exec(name) : null;
    if (place !== undefined) places.push(place);
    else if (guard !== null) {
      guards.push({ name, grantId: guard[1] ?? '', delayMs: Number(guard[2]) });
    } else if (!NOTICE.test(name)) throw unreadable(name, where);
  }
  return { places: places.sort(inOrder), guards };
}

function placeOf(name: string): Place | undefined {
  const found = PLACE.exec(name);
  if (found === null) return undefined;
  const [, grantId = '', whole, counted, permits = '1', of, sequence] = found;
  const mode = MODE_OF.get(whole ?? counted ?? '') ?? 'exclusive';
  const capacity = mode === 'shared' ? Number.POSITIVE_INFINITY : Number(of ?? 1);
  return { name, grantId, mode, permits: Number(permits), capacity, sequence: Number(sequence) };
}

function unreadable(name: string, where: string): CoordinationError<'UPGRADE_NEEDED'> {
  const supported = '‹grantId›-‹x1|s1|c‹permits›of‹capacity››-‹sequence›';
  return new CoordinationError(
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

/** The places with those writers as readers that hold a shared grant by now. */
export function withDowngraded(
  places: readonly Place[],
  downgraded: ReadonlySet<string>,
): readonly Place[] {
  if (downgraded.size === 0) return places;
  const capacity = Number.POSITIVE_INFINITY;
  return places.map((place) =>
    downgraded.has(place.grantId) ? { ...place, mode: 'shared', capacity } : place,
  );
}

/** How many places hold: first come, first served, so they are the first of the line. */
export function holderCount(places: readonly Place[]): number {
  const [head] = places;
  if (head === undefined) return 0;
  if (head.mode === 'exclusive') return 1;
  let room = head.capacity;
  const waiting = places.findIndex(({ mode, permits }) => {
    room -= permits;
    return mode !== head.mode || room < 0;
  });
  return waiting === -1 ? places.length : waiting;
}

/** Whether a place holds, and if not, which places in front of it to watch. */
export type Standing =
  | { readonly state: 'holds'; readonly waiters: number }
  | {
      readonly state: 'waits';
      readonly behind: readonly Place[];
      /** What a watched place must do before this one has to look again, other than to go. */
      readonly until: 'shares' | 'holds' | 'goes';
    }
  /** The place is gone: somebody removed it, or its session ended. */
  | { readonly state: 'gone' };

/**
 * The standing of a place among all. To watch, so that no change wakes more than it must: for a
 * writer its predecessor alone; for a reader the last writer in front; where permits are counted,
 * those who hold for the first who waits, and its predecessor for everybody behind it.
 */
export function standingOf(places: readonly Place[], grantId: string): Standing {
  const index = places.findIndex((place) => place.grantId === grantId);
  const own = places[index];
  if (own === undefined) return { state: 'gone' };
  const holding = holderCount(places);
  if (index < holding) return { state: 'holds', waiters: places.length - holding };
  const inFront = places.slice(0, index);
  switch (own.mode) {
    case 'exclusive':
      return { state: 'waits', behind: inFront.slice(-1), until: 'goes' };
    case 'shared': {
      const behind = inFront.filter(({ mode }) => mode !== 'shared').slice(-1);
      return { state: 'waits', behind, until: 'shares' };
    }
    case 'counting': {
      const isNext = index === holding;
      const behind = isNext ? inFront : inFront.slice(-1);
      return { state: 'waits', behind, until: isNext ? 'goes' : 'holds' };
    }
  }
}

/** The capacity that the head of the line has, where it is another than that of the place. */
export function otherCapacity(places: readonly Place[], own: PlaceRequest): number | undefined {
  const head = places.find(({ grantId }) => grantId !== own.grantId);
  if (head === undefined || kindOf(head) === kindOf(own)) return undefined;
  return countedCapacity(head);
}

/** An exclusive or shared place counts as capacity 1, as the contract of drivers has it. */
export function countedCapacity({ mode, capacity }: Pick<Place, 'mode' | 'capacity'>): number {
  return mode === 'counting' ? capacity : 1;
}

function kindOf({ mode, capacity }: Pick<Place, 'mode' | 'capacity'>): string {
  return mode === 'counting' ? `counts up to ${capacity}` : 'as a whole';
}
