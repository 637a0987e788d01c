import { isDecided } from '../../../src/transaction/three-phase/site-state.js';
import {
  isDead,
  type Letter,
  type LocalEvent,
  localEvents,
  turn,
  type World,
  type WorldSite,
  worldSite,
} from './three-phase-world.js';

/** What an exploration found. */
export interface Exploration {
  readonly states: number;
  /** Distinct states of the sites alone, whatever letters are under way. */
  readonly siteStates: number;
  /** The first broken promise on a shortest way, with the way to it. */
  readonly violation: { readonly what: string; readonly trace: readonly string[] } | undefined;
}

/** Numbers for equal values, so that a state of the whole is a few small integers. */
interface Interned<Value> {
  idOf(value: Value): number;
  valueOf(id: number): Value;
}

interface Step {
  readonly site: number;
  readonly letters: readonly number[];
}

const STATES_MAX = 20_000_000;

function interned<Value>(): Interned<Value> {
  const ids = new Map<string, number>();
  const values: Value[] = [];
  return {
    idOf(value) {
      const key = JSON.stringify(value);
      const known = ids.get(key);
      if (known !== undefined) return known;
      ids.set(key, values.length);
      values.push(value);
      return values.length - 1;
    },
    valueOf: (id) => values[id] as Value,
  };
}

/**
 * Every state that a world can reach, breadth first, and the shortest way to a broken promise.
 *
 * Letters are never taken away: each may be delivered at any time, again, or never, which covers
 * loss, delay, repetition, overtaking and every partition.
 */
export function explore(world: World): Exploration {
  const { siteCount, crashes = 0 } = world;
  const sites = interned<WorldSite>();
  const letters = interned<Letter>();
  const nets = interned<readonly number[]>();
  nets.idOf([]);
  const steps = new Map<string, Step>();
  const stepOf = (id: number, name: string, event: () => LocalEvent | Letter): Step => {
    const key = `${id} ${name}`;
    const known = steps.get(key);
    if (known !== undefined) return known;
    const made = turn(world, sites.valueOf(id), event());
    const step = { site: sites.idOf(made.site), letters: made.letters.map(letters.idOf) };
    steps.set(key, step);
    return step;
  };
  const dead = new Map<number, boolean>();
  const isOver = (letter: number, state: readonly number[]): boolean => {
    if (world.isKeepingDead) return false;
    const { to } = letters.valueOf(letter);
    const key = (state[to] as number) * 4_096 + letter;
    const receiver = sites.valueOf(state[to] as number);
    const known = dead.get(key) ?? isDead(world, letters.valueOf(letter), receiver);
    dead.set(key, known);
    return known;
  };
  const locals = new Map<number, readonly LocalEvent[]>();
  const localsOf = (id: number): readonly LocalEvent[] => {
    const known = locals.get(id) ?? localEvents(world, sites.valueOf(id));
    locals.set(id, known);
    return known;
  };
  const start = Array.from({ length: siteCount }, (_, self) =>
    sites.idOf(worldSite(self, siteCount)),
  );
  const seen = new Map<string, number>();
  const states: (readonly number[])[] = [];
  const parents: number[] = [];
  const labels: string[] = [];
  const settled = new Set<string>();
  let violation: Exploration['violation'];

  /** A state: the sites' numbers, the net's number, the crashes so far. */
  const visit = (state: readonly number[], parent: number, label: string): void => {
    const key = state.join();
    if (seen.has(key)) return;
    seen.set(key, states.length);
    states.push(state);
    parents.push(parent);
    labels.push(label);
    const held = state.slice(0, siteCount).map(sites.valueOf);
    const what = brokenPromise(held) ?? blocked(world, state.slice(0, siteCount), held, settled);
    if (what !== undefined) violation ??= { what, trace: traceOf(states.length - 1) };
  };
  const traceOf = (index: number): readonly string[] => {
    const trace: string[] = [];
    for (let at = index; at > 0; at = parents[at] ?? 0) trace.unshift(labels[at] ?? '');
    return trace;
  };
  const go = (index: number, self: number, step: Step, label: string, crash = 0): void => {
    const state = states[index] as readonly number[];
    const next = [...state];
    next[self] = step.site;
    const before = nets.valueOf(state[siteCount] ?? 0);
    const after = new Set([...before, ...step.letters]);
    for (const letter of after) if (isOver(letter, next)) after.delete(letter);
    next[siteCount] = nets.idOf([...after].sort((a, b) => a - b));
    if (step.site === state[self] && next[siteCount] === state[siteCount] && crash === 0) return;
    next[siteCount + 1] = (next[siteCount + 1] ?? 0) + crash;
    visit(next, index, label);
  };
  visit([...start, 0, 0], -1, '');
  for (let index = 0; index < states.length && violation === undefined; index += 1) {
    if (states.length > STATES_MAX) throw new Error(`more than ${STATES_MAX} states`);
    const state = states[index] as readonly number[];
    const held = state.slice(0, siteCount).map(sites.valueOf);
    for (let self = 0; self < siteCount; self += 1) {
      const id = state[self] as number;
      if (held[self]?.isDown) continue;
      for (const event of localsOf(id)) {
        if (event.type === 'silence' && !mayWaitInVain(world, held, self)) continue;
        const name = `${event.type}${'isYes' in event ? event.isYes : ''}`;
        go(
          index,
          self,
          stepOf(id, name, () => event),
          `${self}: ${describe(event)}`,
        );
      }
      if ((state[siteCount + 1] ?? 0) < crashes) {
        go(
          index,
          self,
          stepOf(id, 'crash', () => ({ type: 'crash' })),
          `${self}: crashes`,
          1,
        );
      }
      for (const suspect of suspects(world, held, self)) {
        const event = { type: 'crashed', site: suspect } as const;
        const step = stepOf(id, `crashed${suspect}`, () => event);
        go(index, self, step, `${self}: takes ${suspect} for crashed`);
      }
    }
    for (const letter of nets.valueOf(state[siteCount] ?? 0)) {
      const { from, to, message } = letters.valueOf(letter);
      if (held[to]?.isDown) continue;
      const step = stepOf(state[to] as number, `#${letter}`, () => letters.valueOf(letter));
      go(index, to, step, `${to}: hears ${describeMessage(message)} from ${from}`);
    }
  }
  const siteStates = new Set(states.map((state) => state.slice(0, siteCount).join())).size;
  return { states: states.length, siteStates, violation };
}

/** Atomicity, validity and the stability of decisions. */
function brokenPromise(held: readonly WorldSite[]): string | undefined {
  const decided = held.map((each) => each.decided);
  if (decided.includes('C') && decided.includes('A')) {
    return `mixed outcome: ${decided.map((each) => each ?? '-').join(' ')}`;
  }
  if (decided.includes('C') && held.some(({ saidNo }) => saidNo)) return 'committed against a no';
  const isUnvoted = held.some(({ site, decided: own }) => site?.state === 'Q' && own === undefined);
  if (decided.includes('C') && isUnvoted) return 'committed without a vote';
  if (held.some(({ wavered }) => wavered)) return 'a decision was taken back';
  return undefined;
}

function mayWaitInVain(world: World, held: readonly WorldSite[], self: number): boolean {
  if (!world.isCrashStop || (world.isImpatient ?? true)) return true;
  const site = held[self]?.site;
  if (site === undefined) return false;
  // Only when whoever was to speak has crashed; what it sent before may still be under way.
  const leader = (site.lastElected - 1) % world.siteCount;
  return leader !== self && (held[leader]?.isDown ?? false);
}

function suspects(world: World, held: readonly WorldSite[], self: number): readonly number[] {
  if (!world.isCrashStop) return [];
  return held.flatMap(({ isDown }, other) => {
    const isKnown = held[self]?.site?.crashed.includes(other) ?? true;
    return other !== self && !isKnown && (isDown || world.isSuspicious) ? [other] : [];
  });
}

/**
 * Non-blocking: once faults stop, every connected majority decides, whoever waits first. Letters on
 * their way are lost; what the sites know is all there is.
 */
function blocked(
  world: World,
  ids: readonly number[],
  held: readonly WorldSite[],
  settled: Set<string>,
): string | undefined {
  if (world.isCrashStop) return undefined;
  for (const members of majorities(world.siteCount)) {
    const key = `${members.join('')} ${members.map((site) => ids[site]).join()}`;
    if (settled.has(key)) continue;
    settled.add(key);
    for (const first of members) {
      const end = calm(world, held, members, first);
      const outcomes = new Set(members.map((site) => end[site]?.decided));
      if (outcomes.has(undefined)) return `the majority ${members.join(' ')} blocks`;
      if (outcomes.size > 1) return `the majority ${members.join(' ')} ends mixed`;
    }
  }
  return undefined;
}

function majorities(siteCount: number): readonly (readonly number[])[] {
  const sets = Array.from({ length: 2 ** siteCount }, (_, bits) =>
    Array.from({ length: siteCount }, (_, site) => site).filter((site) => (bits >> site) & 1),
  );
  return sets.filter((set) => set.length === Math.floor(siteCount / 2) + 1);
}

/** No fault any more: the members wait one after the other, and hear each other in order. */
function calm(
  world: World,
  held: readonly WorldSite[],
  members: readonly number[],
  first: number,
): readonly WorldSite[] {
  const sites = [...held];
  const queue: Letter[] = [];
  const happen = (self: number, event: LocalEvent | Letter): void => {
    const made = turn({ ...world, isForgetting: false }, sites[self] as WorldSite, event);
    sites[self] = made.site;
    queue.push(...made.letters.filter(({ to }) => members.includes(to)));
  };
  const order = [first, ...members.filter((site) => site !== first)];
  for (let round = 0; round < 3; round += 1) {
    for (const self of order) {
      const { site } = sites[self] as WorldSite;
      if (site === undefined) continue;
      const type = site.state === 'Q' && self !== 0 ? 'give-up' : waitOf(site.state);
      happen(self, { type });
      for (let letter = queue.shift(); letter !== undefined; letter = queue.shift()) {
        happen(letter.to, letter);
      }
      const isOver = members.every((each) => isDecided(sites[each]?.disk.state ?? 'A'));
      if (isOver) return sites;
    }
  }
  return sites;
}

function waitOf(state: string): 'give-up' | 'silence' {
  return state === 'Q' ? 'give-up' : 'silence';
}

function describe(event: LocalEvent): string {
  switch (event.type) {
    case 'voted':
      return event.isYes ? 'votes yes' : 'votes no';
    case 'silence':
      return 'waits in vain';
    case 'lead':
      return 'asks can-commit';
    default:
      return event.type;
  }
}

function describeMessage(message: Letter['message']): string {
  switch (message.type) {
    case 'vote':
      return message.isYes ? 'yes' : 'no';
    case 'attempt':
      return `${message.attempt === 'PC' ? 'pre-commit' : 'pre-abort'}@${message.ballot}`;
    case 'report':
      return `report ${message.state}/${message.lastAttempt}@${message.ballot}`;
    case 'ack':
    case 'elect':
    case 'refuse':
      return `${message.type}@${message.ballot}`;
    case 'decided':
      return message.decided === 'C' ? 'do-commit' : 'do-abort';
    default:
      return message.type;
  }
}
