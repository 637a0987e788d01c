/**
 * What a process knows of the others that publish their changes on a bus which may lose, repeat and
 * reorder messages. Every change has a number of its publisher, from 1 on; each second a publisher
 * says up to which number all had been answered, or had hung for a beat, a beat ago: its floor. So
 * whoever did not hear one of them notices at the second beat after its answer, at the third if others
 * hang, and whoever hears no beat at all after three. A publisher that is not heard any more is
 * forgotten then: of what it changes later nobody knows.
 *
 * Why a gap alone is no loss yet: in a cluster the messages of one publisher come on several ways.
 * Pure: nothing here waits or sends.
 */
export interface NewsState {
  /** Which publisher this process itself is. */
  readonly self: string;
  /**
   * `closed`: no connection listens, and what still comes from an old one counts for nothing;
   * `opened`: one does, but this process has not heard itself; `live`: it has, and so hears the others.
   */
  readonly phase: 'closed' | 'opened' | 'live';
  /** By the name of one life of a process's cache: whoever comes back has another one. */
  readonly publishers: ReadonlyMap<string, HeardPublisher>;
}

/** What was heard of one publisher. */
interface HeardPublisher {
  /** All changes up to this one. */
  readonly upTo: number;
  /** Changes after it that overtook others. */
  readonly ahead: readonly number[];
  /** So many checks since its last beat. */
  readonly missedCount: number;
}

/** What a publisher changed: keys, versions of tags, or everything. */
export type ToldChange =
  | { readonly of: 'keys' | 'tags'; readonly names: readonly string[] }
  | { readonly of: 'all' };

/** What comes from the bus, or about it. */
export type NewsEvent =
  /** A new connection listens: nothing of before counts. Or it does no more. */
  | { readonly kind: 'opened' }
  | { readonly kind: 'closed' }
  /** One second has passed. */
  | { readonly kind: 'checked' }
  | {
      readonly kind: 'change';
      readonly publisher: string;
      readonly number: number;
      readonly told: ToldChange;
    }
  | PublisherCount;

interface PublisherCount {
  readonly kind: 'beat' | 'bye';
  readonly publisher: string;
  readonly floor: number;
}

/** What is to be done about it. */
export type NewsEffect =
  /** Copies may be kept from now on, none from before. */
  | { readonly kind: 'live' }
  /** What was told is not to be answered any more. */
  | { readonly kind: 'drop'; readonly told: ToldChange }
  /** Something was not heard: no copy is to be answered any more. */
  | { readonly kind: 'clear' }
  /** This process does not hear itself: no copy may be kept until it listens anew. */
  | { readonly kind: 'deaf' };

const BEATS_MISSED_MAX = 3;
/** More than so many of either are no news but noise: all is dropped, and counted anew. */
const PUBLISHERS_MAX = 1_000;
const AHEAD_MAX = 1_000;
const UNHEARD: HeardPublisher = { upTo: 0, ahead: [], missedCount: 0 };
const CLEAR: NewsEffect = { kind: 'clear' };

/** Nothing was heard yet. */
export function newsOf(self: string): NewsState {
  return { self, phase: 'closed', publishers: new Map() };
}

/** What is known after an event, and what is to be done. */
export function heard(state: NewsState, event: NewsEvent): [NewsState, readonly NewsEffect[]] {
  if (event.kind === 'opened') return [{ ...newsOf(state.self), phase: 'opened' }, []];
  if (state.phase === 'closed') return [state, []];
  switch (event.kind) {
    case 'closed':
      return [newsOf(state.self), []];
    case 'checked':
      return checked(state);
    case 'change':
      return changed(state, event);
    default:
      return counted(state, event);
  }
}

type Change = Extract<NewsEvent, { readonly kind: 'change' }>;

/** A change is dropped whatever its number: one that comes late is as true as any other. */
function changed(state: NewsState, { publisher, number, told }: Change): ReturnType<typeof heard> {
  const drop: NewsEffect = { kind: 'drop', told };
  const known = state.publishers.get(publisher) ?? UNHEARD;
  if (number <= known.upTo || known.ahead.includes(number)) return [state, [drop]];
  const next = caughtUp(known, known.upTo, [...known.ahead, number]);
  if (next.ahead.length <= AHEAD_MAX) return withPublisher(state, publisher, next, [drop]);
  const anew = caughtUp(known, Math.max(...next.ahead), []);
  return withPublisher(state, publisher, anew, [CLEAR]);
}

/** A floor beyond what was heard: a change was lost, before this process knew the publisher or since. */
function counted(
  state: NewsState,
  { kind, publisher, floor }: PublisherCount,
): ReturnType<typeof heard> {
  const known = state.publishers.get(publisher) ?? UNHEARD;
  const effects = known.upTo < floor ? [CLEAR] : [];
  if (kind === 'bye') return [withoutPublisher(state, publisher), effects];
  const next = caughtUp({ ...known, missedCount: 0 }, Math.max(known.upTo, floor), known.ahead);
  if (publisher !== state.self || state.phase === 'live') {
    return withPublisher(state, publisher, next, effects);
  }
  const live: NewsState = { ...state, phase: 'live' };
  return withPublisher(live, publisher, next, [...effects, { kind: 'live' }]);
}

/** Who has been silent for too long may have died between a change and its message, or is not heard. */
function checked(state: NewsState): ReturnType<typeof heard> {
  const publishers = new Map<string, HeardPublisher>();
  // Also before its first beat.
  const all = new Map([[state.self, UNHEARD], ...state.publishers]);
  for (const [publisher, known] of all) {
    const missedCount = known.missedCount + 1;
    if (missedCount < BEATS_MISSED_MAX) publishers.set(publisher, { ...known, missedCount });
  }
  if (!publishers.has(state.self)) return [newsOf(state.self), [{ kind: 'deaf' }]];
  return [{ ...state, publishers }, publishers.size < all.size ? [CLEAR] : []];
}

/** The same with all that follow without a gap. */
function caughtUp(known: HeardPublisher, from: number, numbers: readonly number[]): HeardPublisher {
  let upTo = from;
  const later = numbers.filter((number) => number > from).sort((a, b) => a - b);
  while (later[0] === upTo + 1) upTo = later.shift() ?? upTo;
  return { ...known, upTo, ahead: later };
}

function withPublisher(
  state: NewsState,
  publisher: string,
  known: HeardPublisher,
  effects: readonly NewsEffect[],
): ReturnType<typeof heard> {
  const isFull = state.publishers.size >= PUBLISHERS_MAX && !state.publishers.has(publisher);
  const publishers = new Map(isFull ? [] : state.publishers).set(publisher, known);
  const own = isFull ? state.publishers.get(state.self) : undefined;
  if (own !== undefined) publishers.set(state.self, own);
  return [{ ...state, publishers }, isFull ? [...effects, CLEAR] : effects];
}

function withoutPublisher(state: NewsState, publisher: string): NewsState {
  const publishers = new Map(state.publishers);
  publishers.delete(publisher);
  return { ...state, publishers };
}
