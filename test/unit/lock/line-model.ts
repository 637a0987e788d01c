/**
 * A model of the line of one resource in a backend, in every mode: what the scripts of the Redis lock,
 * the znodes of ZooKeeper and the memory driver all do. Messages may be lost after they took effect and
 * be sent again, holders and waiters may die, writers may become readers. All states of a few clients
 * are visited, breadth first, so that the first violation found has a shortest trace.
 *
 * `fault` plants a mistake; the test expects each to be found.
 */

export type Fault =
  | 'readers-pass-a-writer'
  | 'small-pass-large'
  | 'one-reader-a-release'
  | 'cancel-grants-nobody'
  | 'expiry-grants-nobody'
  | 'acquire-twice-holds-twice'
  | 'acquire-after-cancel'
  | 'epoch-of-its-own'
  | 'epoch-is-the-first-token'
  | 'downgrade-keeps-first-token'
  | 'downgrade-grants-nobody'
  | 'downgrade-lets-go';

export interface Client {
  readonly mode: 'exclusive' | 'shared' | 'counting';
  readonly permits: number;
}

interface Party {
  readonly client: number;
  readonly mode: Client['mode'];
  readonly permits: number;
  /** First and last of a writer's tokens; of a reader both are the epoch. */
  readonly tokens: readonly [first: number, last: number];
}

interface State {
  readonly holders: readonly Party[];
  readonly queue: readonly number[];
  /** Clients whose attempt is over. */
  readonly gone: readonly number[];
  /** What readers carry. */
  readonly epoch: number;
  readonly newest: number;
}

const BLOCK = 2;
const START: State = { holders: [], queue: [], gone: [], epoch: 0, newest: 0 };

export interface Exploration {
  readonly states: number;
  /** What was violated, and by which steps; undefined when nothing was. */
  readonly violation: string | undefined;
}

/** Visits every state of these clients on one resource. */
export function explore(clients: readonly Client[], capacity: number, fault?: Fault): Exploration {
  const seen = new Set<string>();
  let open: { readonly state: State; readonly trace: string }[] = [{ state: START, trace: '' }];
  while (open.length > 0) {
    const next: typeof open = [];
    for (const { state, trace } of open) {
      for (const [name, after] of steps(state, clients, capacity, fault)) {
        const steps = `${trace} ${name}`;
        const violation = broken(state, after, clients, capacity);
        if (violation !== undefined) {
          return { states: seen.size, violation: `${violation}:${steps}` };
        }
        const key = JSON.stringify(after);
        if (seen.has(key)) continue;
        seen.add(key);
        next.push({ state: after, trace: steps });
      }
    }
    open = next;
  }
  return { states: seen.size, violation: undefined };
}

/** Everything that may happen next. */
function steps(
  state: State,
  clients: readonly Client[],
  capacity: number,
  fault: Fault | undefined,
): [string, State][] {
  const world = { clients, capacity, fault };
  const found: [string, State][] = [];
  for (const [client, { mode }] of clients.entries()) {
    const held = state.holders.find((holder) => holder.client === client);
    // The first send, or a copy of it whose reply was lost.
    found.push([`acquire ${client}`, acquire(state, client, world)]);
    if (state.queue.includes(client)) found.push([`cancel ${client}`, leave(state, client, world)]);
    if (held === undefined) continue;
    found.push([`release ${client}`, drop(state, client, world, 'release')]);
    found.push([`expire ${client}`, drop(state, client, world, 'expire')]);
    if (mode === 'exclusive') found.push([`downgrade ${client}`, downgrade(state, held, world)]);
  }
  return found;
}

interface World {
  readonly clients: readonly Client[];
  readonly capacity: number;
  readonly fault: Fault | undefined;
}

function acquire(state: State, client: number, world: World): State {
  const { fault } = world;
  const isHeld = state.holders.some((holder) => holder.client === client);
  if (isHeld && fault !== 'acquire-twice-holds-twice') return state;
  if (state.queue.includes(client)) return state;
  if (state.gone.includes(client) && fault !== 'acquire-after-cancel') return state;
  const asked = world.clients[client] as Client;
  const passes =
    (fault === 'readers-pass-a-writer' && asked.mode === 'shared') ||
    (fault === 'small-pass-large' && asked.mode === 'counting');
  if ((state.queue.length === 0 || passes) && fits(state, asked, world)) {
    return hold(state, client, world);
  }
  return { ...state, queue: [...state.queue, client] };
}

function leave(state: State, client: number, world: World): State {
  const queue = state.queue.filter((each) => each !== client);
  const left = { ...state, queue, gone: [...state.gone, client].toSorted() };
  return world.fault === 'cancel-grants-nobody' ? left : serve(left, world);
}

function drop(state: State, client: number, world: World, how: 'release' | 'expire'): State {
  const holders = state.holders.filter((holder) => holder.client !== client);
  const gone = Array.from(new Set([...state.gone, client])).toSorted();
  const left = { ...state, holders, gone };
  if (how === 'expire' && world.fault === 'expiry-grants-nobody') return left;
  return serve(left, world);
}

function downgrade(state: State, held: Party, world: World): State {
  const { fault } = world;
  // Sent again: it is a reader's already.
  if (held.mode === 'shared') return state;
  const epoch = fault === 'downgrade-keeps-first-token' ? held.tokens[0] : held.tokens[1];
  const reader: Party = { ...held, mode: 'shared', tokens: [epoch, epoch] };
  const others = state.holders.filter((holder) => holder !== held);
  const holders = fault === 'downgrade-lets-go' ? others : [...others, reader];
  const changed = { ...state, holders, epoch };
  return fault === 'downgrade-grants-nobody' ? changed : serve(changed, world);
}

/** Grants those at the head of the line who fit, one after the other. */
function serve(state: State, world: World): State {
  let now = state;
  for (;;) {
    const [head] = now.queue;
    const asked = head === undefined ? undefined : world.clients[head];
    if (head === undefined || asked === undefined || !fits(now, asked, world)) return now;
    now = hold({ ...now, queue: now.queue.slice(1) }, head, world);
    if (world.fault === 'one-reader-a-release') return now;
  }
}

function fits({ holders }: State, { mode, permits }: Client, { capacity }: World): boolean {
  if (mode === 'exclusive') return holders.length === 0;
  if (holders.some((holder) => holder.mode !== mode)) return false;
  if (mode === 'shared') return true;
  return holders.reduce((sum, holder) => sum + holder.permits, permits) <= capacity;
}

function hold(state: State, client: number, { clients, fault }: World): State {
  const { mode, permits } = clients[client] as Client;
  const first = state.newest + 1;
  const last = first + BLOCK - 1;
  if (mode === 'counting') {
    const holder: Party = { client, mode, permits, tokens: [0, 0] };
    return { ...state, holders: [...state.holders, holder] };
  }
  if (mode === 'exclusive') {
    const holder: Party = { client, mode, permits, tokens: [first, last] };
    const epoch = fault === 'epoch-is-the-first-token' ? first : last;
    return { ...state, holders: [...state.holders, holder], newest: last, epoch };
  }
  const isNew = fault === 'epoch-of-its-own';
  const epoch = isNew ? first : state.epoch;
  const holder: Party = { client, mode, permits, tokens: [epoch, epoch] };
  const newest = isNew ? first : state.newest;
  return { ...state, holders: [...state.holders, holder], newest };
}

/** What a step broke, in a word; undefined for nothing. */
function broken(
  before: State,
  { holders, queue, gone, newest }: State,
  clients: readonly Client[],
  capacity: number,
): string | undefined {
  const writers = holders.filter(({ mode }) => mode === 'exclusive');
  if (writers.length > 0 && holders.length > 1) return 'exclusion';
  const counted = holders.filter(({ mode }) => mode === 'counting');
  if (counted.reduce((sum, { permits }) => sum + permits, 0) > capacity) return 'capacity';
  if (new Set(holders.map(({ client }) => client)).size < holders.length) return 'twice';
  const [head] = queue;
  const world: World = { clients, capacity, fault: undefined };
  const asked = head === undefined ? undefined : clients[head];
  const now: State = { ...before, holders, queue };
  if (asked !== undefined && fits(now, asked, world)) return 'lost wake-up';
  const isNew = ({ client }: Party): boolean =>
    before.holders.every((holder) => holder.client !== client);
  const came = holders.filter(isNew);
  const waitedLonger = before.queue.filter((client) => queue.includes(client));
  const placeOf = (client: number): number => {
    const place = before.queue.indexOf(client);
    return place < 0 ? before.queue.length : place;
  };
  const isFirst = (client: number): boolean =>
    waitedLonger.every((other) => placeOf(client) < placeOf(other));
  if (came.some(({ client }) => !isFirst(client))) return 'starvation';
  if (came.some(({ client }) => before.gone.includes(client))) return 'gone';
  // Only a release and an expiry end a hold, and both are remembered.
  const hasGone = (client: number): boolean => gone.includes(client);
  const isHeld = (client: number): boolean => holders.some((holder) => holder.client === client);
  if (before.holders.some(({ client }) => !isHeld(client) && !hasGone(client))) return 'let go';
  return brokenTokens(before, holders, newest);
}

function brokenTokens(
  before: State,
  holders: readonly Party[],
  newest: number,
): string | undefined {
  for (const { client, mode, tokens } of holders) {
    const old = before.holders.find((holder) => holder.client === client);
    if (mode === 'exclusive' && old === undefined && tokens[0] <= before.newest) return 'fence';
    if (mode !== 'shared') continue;
    // Not below any token of a writer before; the next writer's are above all there is.
    if (tokens[0] < before.newest || tokens[0] > newest) return 'epoch';
    // One token for all between two writers: above no writer's.
    if (old === undefined && tokens[0] > before.newest) return 'epoch';
  }
  const epochs = holders.filter(({ mode }) => mode === 'shared').map(({ tokens }) => tokens[0]);
  return new Set(epochs).size > 1 ? 'epoch' : undefined;
}
