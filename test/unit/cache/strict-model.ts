// The world around a strict write, small enough to go through all of it: one key, its entry at a
// server, copies in the memory of two readers, and one or two writers that may be slow, lose replies, or
// die at any moment. Time passes in ticks between any two steps, and stands in the state only as what is
// left of something, so that the states are finite in number.

import {
  newStrictWrite,
  nextStep,
  type StrictPolicy,
  type StrictWrite,
  strictWaitMs,
} from '../../../src/cache/strict-write.js';

/** What the writers do, and what the readers do on a miss. */
export type WorldKind =
  /** `update`: the source changes under the reservation, and misses load from it. */
  | 'update'
  /** `set`: the server is the source, and a miss is an answer. */
  | 'set'
  /** `delete` after the source has changed. */
  | 'delete';

export interface World {
  readonly kind: WorldKind;
  /**
   * One may die, prolong its reservation and lose a reply; two, which do not, meet one reader, who asks
   * once or twice: or else there were too many orders.
   */
  readonly writerCount: 1 | 2;
  /** The step function under test. */
  readonly next?: typeof nextStep;
  /** By how much the writers think that clocks differ. */
  readonly drift?: number;
  /** What readers may do wrong. */
  readonly fault?: 'counts from the reply' | 'keeps what is held';
  /** A source may take a change after the reservation has ended. */
  readonly isLateCommitAllowed?: boolean;
}

/** Of the clocks: a slow one shows one tick where two have passed. */
const DRIFT = 1;
const TICK_MS = 100;
const LEASE_MS = TICK_MS;
const HOLD_MS = 6 * TICK_MS;
/** Of a copy, by the slowest clock. */
const COPY_TICKS = (LEASE_MS * (1 + DRIFT)) / TICK_MS;
/** Of a reservation, by the server's fast clock. */
const HOLD_TICKS = HOLD_MS / (1 + DRIFT) / TICK_MS;
const NONE = -1;

interface Reader {
  copy: number;
  copyTicks: number;
  phase: 'idle' | 'sent' | 'found' | 'leading' | 'unfilled' | 'loaded';
  version: number;
  /** What is left of a copy's time, counted from before its request. */
  ticks: number;
  isHeld: boolean;
  /** What a read that begins now must not be older than; as of its beginning. */
  floor: number;
  readsLeft: number;
}

interface Writer {
  write: StrictWrite;
  phase: 'ready' | 'sent' | 'dead' | 'acknowledged';
  /** Since the request was sent. */
  sentTicks: number;
  waitTicks: number;
  coverTicks: number;
  /** What it wrote, or what was there when it began. */
  version: number;
  lossesLeft: number;
}

interface State {
  entry: number;
  holder: number;
  holdTicks: number;
  leader: number;
  source: number;
  floor: number;
  readers: Reader[];
  writers: Writer[];
}

export interface Exploration {
  readonly stateCount: number;
  /** Steps to the first violation; undefined: there is none. */
  readonly trace: readonly string[] | undefined;
}

const STATES_MAX = 2_000_000;

/** Goes through every state that can be reached, the nearest first. */
export function exploreStrict(world: World): Exploration {
  const seen = new Set<string>();
  const queue: Visit[] = [];
  const visit = (state: State, before: Visit | undefined, step: string): void => {
    const key = keyOf(state);
    if (seen.has(key)) return;
    seen.add(key);
    queue.push({ state, before, step });
  };
  visit(beginning(world), undefined, 'begin');
  for (const here of queue) {
    for (const [step, after] of stepsFrom(world, here.state)) {
      if (after === undefined) return { stateCount: seen.size, trace: [...traceTo(here), step] };
      visit(after, here, step);
    }
    if (seen.size > STATES_MAX) throw new Error(`more than ${STATES_MAX} states`);
  }
  return { stateCount: seen.size, trace: undefined };
}

interface Visit {
  readonly state: State;
  readonly before: Visit | undefined;
  readonly step: string;
}

function traceTo(last: Visit): string[] {
  const trace: string[] = [];
  for (let at: Visit | undefined = last; at !== undefined; at = at.before) trace.unshift(at.step);
  return trace;
}

function beginning({ kind, writerCount }: World): State {
  const reader = (): Reader => ({
    ...{ copy: NONE, copyTicks: 0, phase: 'idle', version: NONE, ticks: 0 },
    ...{ isHeld: false, floor: 0, readsLeft: kind === 'update' ? 1 : writerCount },
  });
  return {
    ...{ entry: kind === 'set' ? 0 : NONE, holder: NONE, holdTicks: 0, leader: NONE },
    ...{ source: 0, floor: 0 },
    readers: Array.from({ length: 3 - writerCount }, reader),
    writers: Array.from({ length: writerCount }, () => newWriter(writerCount === 1 ? 1 : 0)),
  };
}

function newWriter(lossesLeft: number): Writer {
  return {
    write: newStrictWrite(),
    ...{ phase: 'ready', sentTicks: 0, waitTicks: 0, coverTicks: 0 },
    ...{ version: NONE, lossesLeft },
  };
}

/** Every step from a state; without a state after it: it violates the promise. */
function stepsFrom(world: World, from: State): [step: string, after: State | undefined][] {
  const steps: [string, State | undefined][] = [];
  const attempt = (step: string, change: (state: State) => boolean | 'violated'): void => {
    const state = copyOf(from);
    const result = change(state);
    if (result !== false) steps.push([step, result === 'violated' ? undefined : state]);
  };
  const { readers, writers } = from;
  attempt('time passes', passTime);
  readers.forEach((_, index) => {
    attempt(`reader ${index} hits its copy`, (state) => hit(world, state, index));
    attempt(`reader ${index} goes on`, (state) => read(world, state, index));
  });
  writers.forEach(({ lossesLeft }, index) => {
    attempt(`writer ${index} goes on`, (state) => write(world, state, index));
    if (writers.length > 1) return;
    attempt(`writer ${index} prolongs`, (state) => prolong(world, state, index));
    attempt(`writer ${index} dies`, (state) => {
      const writer = state.writers[index] as Writer;
      if (writer.phase === 'dead' || writer.phase === 'acknowledged') return false;
      // What it had sent may still arrive; the model lets that happen before.
      writer.phase = 'dead';
      return true;
    });
    if (lossesLeft === 0) return;
    attempt(`writer ${index} loses a reply and asks again`, (state) => {
      const writer = state.writers[index] as Writer;
      if (writer.phase !== 'sent') return false;
      atServer(world, state, index);
      Object.assign(writer, { sentTicks: 0, lossesLeft: writer.lossesLeft - 1 });
      return true;
    });
  });
  return steps;
}

function copyOf(state: State): State {
  const readers = state.readers.map((reader) => ({ ...reader }));
  return { ...state, readers, writers: state.writers.map((writer) => ({ ...writer })) };
}

/** Readers are alike, and who has ended is like any other who has. */
function keyOf(state: State): string {
  const { entry, holder, holdTicks, leader, source, floor, writers, readers } = state;
  const ofReaders = readers.map((reader) => Object.values(reader).join());
  if (leader === NONE) ofReaders.sort();
  const ofWriters = writers.map(({ write, phase, ...rest }) => {
    if (phase === 'dead' || phase === 'acknowledged') return phase;
    return [phase, ...Object.values(write), ...Object.values(rest)].join();
  });
  const ofServer = [entry, holder, holdTicks, leader, source, floor].join();
  return [ofServer, ...ofReaders, ...ofWriters].join(';');
}

function passTime(state: State): boolean {
  let isChanged = state.holdTicks > 0;
  const less = (ticks: number): number => {
    isChanged ||= ticks > 0;
    return Math.max(ticks - 1, 0);
  };
  state.holdTicks = less(state.holdTicks);
  if (state.holdTicks === 0) state.holder = NONE;
  for (const reader of state.readers) {
    reader.copyTicks = less(reader.copyTicks);
    if (reader.copyTicks === 0) reader.copy = NONE;
    reader.ticks = less(reader.ticks);
  }
  for (const writer of state.writers) {
    writer.waitTicks = less(writer.waitTicks);
    writer.coverTicks = less(writer.coverTicks);
    if (
      writer.phase !== 'sent' ||
      writer.write.step !== 'reserve' ||
      writer.sentTicks === HOLD_TICKS
    )
      continue;
    writer.sentTicks += 1;
    isChanged = true;
  }
  return isChanged;
}

/** A value is answered to a read that began when `floor` was the oldest that was good. */
function answer(
  { kind, isLateCommitAllowed }: World,
  state: State,
  version: number,
  floor: number,
) {
  if (version === NONE) return true;
  if (version < floor) return 'violated';
  // Where the source changes outside, a miss may have shown the new value before the invalidation.
  const isOrdered = kind !== 'delete' && isLateCommitAllowed !== true;
  if (isOrdered) state.floor = Math.max(state.floor, version);
  return true;
}

function hit(world: World, state: State, index: number): boolean | 'violated' {
  const { copy } = state.readers[index] as Reader;
  return copy === NONE ? false : answer(world, state, copy, state.floor);
}

function read(world: World, state: State, index: number): boolean | 'violated' {
  const reader = state.readers[index] as Reader;
  const end = (): boolean | 'violated' => {
    const { version, floor } = reader;
    Object.assign(reader, { phase: 'idle', version: NONE, ticks: 0, isHeld: false, floor: 0 });
    return answer(world, state, version, floor);
  };
  const keep = (): void => {
    const ticks = world.fault === 'counts from the reply' ? COPY_TICKS : reader.ticks;
    const isKept = !reader.isHeld || world.fault === 'keeps what is held';
    if (ticks === 0 || !isKept) return;
    Object.assign(reader, { copy: reader.version, copyTicks: ticks });
  };
  switch (reader.phase) {
    case 'idle':
      if (reader.readsLeft === 0 || reader.copy !== NONE) return false;
      reader.readsLeft -= 1;
      Object.assign(reader, { phase: 'sent', ticks: COPY_TICKS, floor: state.floor });
      return true;
    case 'sent':
      reader.isHeld = state.holder !== NONE;
      if (state.entry !== NONE) Object.assign(reader, { phase: 'found', version: state.entry });
      else if (world.kind === 'set') return end();
      else if (reader.isHeld || state.leader !== NONE) reader.phase = 'unfilled';
      else {
        reader.phase = 'leading';
        state.leader = index;
      }
      return true;
    case 'found':
      keep();
      return end();
    case 'leading':
      Object.assign(reader, { phase: 'loaded', version: state.source, ticks: COPY_TICKS });
      return true;
    case 'unfilled':
      reader.version = state.source;
      return end();
    case 'loaded':
      if (state.leader === index) {
        Object.assign(state, { entry: reader.version, leader: NONE });
        keep();
      }
      return end();
  }
}

function policyOf({ kind, drift = DRIFT }: World): StrictPolicy {
  return { leaseMs: LEASE_MS, holdMs: HOLD_MS, drift, commits: kind === 'update' };
}

/** Ticks of a slow clock, from now. */
const msOf = (ticks: number): number => (ticks * TICK_MS) / (1 + DRIFT);

function happened(world: World, writer: Writer, event: Parameters<typeof nextStep>[2]): void {
  const { next = nextStep } = world;
  const before = { ...writer.write, coveredUntilMs: msOf(writer.coverTicks) };
  const after = next(policyOf(world), before, event);
  writer.coverTicks = Math.max(Math.round(after.coveredUntilMs / msOf(1)), 0);
  writer.write = { ...after, coveredUntilMs: 0 };
  // By a fast clock.
  const waitMs = strictWaitMs(policyOf(world)) / (1 + DRIFT);
  writer.waitTicks = after.step === 'wait' ? Math.floor(waitMs / TICK_MS) : 0;
}

function write(world: World, state: State, index: number): boolean {
  const writer = state.writers[index] as Writer;
  const { step } = writer.write;
  switch (writer.phase) {
    case 'dead':
    case 'acknowledged':
      return false;
    case 'sent': {
      // A reply that comes later only lets the writer do what it does later.
      const sentMs = -msOf(writer.sentTicks);
      const isOwn = atServer(world, state, index);
      if (step === 'reserve') happened(world, writer, { type: 'reserved', sentMs });
      else happened(world, writer, { type: 'settled', isOwn, atMs: 0 });
      Object.assign(writer, { phase: 'ready', sentTicks: 0 });
      return true;
    }
    case 'ready':
      return goOn(world, state, writer);
  }
}

function goOn(world: World, state: State, writer: Writer): boolean {
  switch (writer.write.step) {
    case 'wait':
      if (writer.waitTicks > 0) return false;
      happened(world, writer, { type: 'waited' });
      return true;
    case 'commit':
      if (writer.coverTicks === 0 && !world.isLateCommitAllowed) return false;
      state.source += 1;
      writer.version = state.source;
      happened(world, writer, { type: 'committed' });
      return true;
    case 'done':
      writer.phase = 'acknowledged';
      state.floor = Math.max(state.floor, writer.version);
      return true;
    default:
      if (writer.version === NONE && world.kind === 'delete') {
        state.source += 1;
        writer.version = state.source;
      }
      // Whatever comes of it, what was there at the beginning is old when it is done.
      if (writer.version === NONE && world.kind === 'set') writer.version = state.source + 1;
      Object.assign(writer, { phase: 'sent', sentTicks: 0 });
      return true;
  }
}

/** Whether the reservation is its own. */
function atServer(world: World, state: State, index: number): boolean {
  const isOwn = state.holder === index;
  if (state.writers[index]?.write.step === 'reserve') reserveAt(state, index);
  else concludeAt(world, state, index);
  return isOwn;
}

function reserveAt(state: State, index: number): void {
  state.holdTicks = Math.max(HOLD_TICKS, state.holdTicks);
  Object.assign(state, { holder: index, leader: NONE });
}

function concludeAt({ kind }: World, state: State, index: number): void {
  const writer = state.writers[index] as Writer;
  const isOwn = state.holder === index;
  state.entry = NONE;
  if (!isOwn) {
    state.leader = NONE;
    return;
  }
  if (writer.write.step === 'clear') {
    state.holdTicks = HOLD_TICKS;
    return;
  }
  Object.assign(state, { holder: NONE, holdTicks: 0 });
  if (kind !== 'set') return;
  state.source += 1;
  state.entry = state.source;
  writer.version = state.source;
}

function prolong(world: World, state: State, index: number): boolean {
  const writer = state.writers[index] as Writer;
  const isWorking = writer.phase === 'ready' && writer.write.step === 'commit';
  if (!isWorking || state.holder !== index || writer.coverTicks === HOLD_TICKS) return false;
  state.holdTicks = HOLD_TICKS;
  happened(world, writer, { type: 'renewed', sentMs: 0 });
  return true;
}
