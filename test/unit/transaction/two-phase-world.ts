import type { CommitRecord } from '../../../src/transaction/decision-log.js';
import type { BranchOutcome } from '../../../src/transaction/participant.js';
import {
  type RecoveryEffect,
  type RecoveryState,
  recovery,
  recoveryStart,
} from '../../../src/transaction/recovery-machine.js';
import {
  TWO_PHASE_START,
  type TwoPhaseEffect,
  type TwoPhaseEvent,
  type TwoPhaseState,
  twoPhase,
} from '../../../src/transaction/two-phase.js';
import type { Model } from './explore.js';

/**
 * A world around the two machines: resources, a log, lossy replies, requests that arrive late, a
 * coordinator that stops anywhere and recoverers that stop anywhere. Faults that the design forbids
 * can be switched on, to see that each rule is needed.
 */
export interface WorldOptions {
  readonly branches: number;
  readonly recoverers: number;
  /** How many requests or replies may be lost. */
  readonly lossesMax: number;
  readonly isOnePhase?: boolean;
  readonly mayReadOnly?: boolean;
  /** The last branch is not prepared: its commit, with the record inside, is the decision. */
  readonly hasLastResource?: boolean;
  readonly faults?: readonly Fault[];
}

export type Fault =
  /** The log does not look at the fence when it records. */
  | 'decision without the incarnation check'
  /** Recoverers conclude from absence without fencing first. */
  | 'recoverer without a fence'
  /** A commit record may vanish at any time (a TTL, an eviction). */
  | 'record forgotten before all acknowledgements'
  /** A lost reply of the deciding step counts as a refusal. */
  | 'lost decision treated as failure'
  /** A lost reply of the deciding step counts as success. */
  | 'lost decision treated as success'
  /** A lost reply of a prepare counts as yes. */
  | 'lost vote treated as yes'
  /** A recoverer that finds no record commits. */
  | 'commit on absence'
  /** After a lost reply, 'fenced' counts as abort without asking for evidence. */
  | 'fenced after a lost reply treated as abort'
  /** Time running out while the decision is under way counts as abort. */
  | 'time-out while deciding treated as abort'
  /** A participant is acknowledged when its commit is sent, not when it is answered. */
  | 'acknowledged before committed'
  /** After a lost reply of the last resource its record is looked for, and nothing keeps it away. */
  | 'settled without a mark'
  /** The last resource commits as soon as the body returned, and the others prepare afterwards. */
  | 'last resource committed first'
  /** The coordinator sweeps its own transaction while its decision is under way. */
  | 'own sweep of a transaction under way';

type Rm = 'working' | 'prepared' | 'committed' | 'aborted' | 'read-only';

interface World {
  tm: TwoPhaseState;
  isAlive: boolean;
  /** Sent and not yet arrived. */
  requests: TwoPhaseEffect[];
  /** Answered and not yet received. */
  replies: TwoPhaseEvent[];
  /** Nobody waits for them any more, but they may still arrive. */
  ghosts: TwoPhaseEffect[];
  log: {
    isFenced: boolean;
    hasRecord: boolean;
    wasRecorded: boolean;
    acknowledged: number[];
    isMarked: boolean;
  };
  rms: Rm[];
  told: 'committed' | 'aborted' | 'in-doubt' | null;
  recoverers: ({ machine: RecoveryState; effects: RecoveryEffect[] } | null)[];
  losses: number;
}

type Step = readonly [string, World];

const TIMEOUT: TwoPhaseEvent = { type: 'give-up', cause: { by: 'timeout', reason: '' } };
const CAUSE = { by: 'log', reason: '' } as const;

export function twoPhaseWorld(options: WorldOptions): Model<World> {
  return {
    start: startOf(options),
    steps: (world) => stepsOf(world, options),
    violation: (world) => violationOf(world, options),
    isSettled: ({ rms, log }) => !rms.includes('prepared') && !log.hasRecord,
  };
}

function startOf({ branches, recoverers }: WorldOptions): World {
  let tm = TWO_PHASE_START;
  for (let branch = 0; branch < branches; branch += 1) [tm] = twoPhase(tm, { type: 'enlisted' });
  return {
    tm,
    isAlive: true,
    requests: [],
    replies: [],
    ghosts: [],
    log: {
      isFenced: false,
      hasRecord: false,
      wasRecorded: false,
      acknowledged: [],
      isMarked: false,
    },
    rms: Array.from({ length: branches }, () => 'working'),
    told: null,
    recoverers: Array.from({ length: recoverers }, () => null),
    losses: 0,
  };
}

function violationOf({ rms, told, log }: World, { branches }: WorldOptions): string | undefined {
  const isCommitted = rms.includes('committed');
  const isAborted = rms.includes('aborted');
  if (isCommitted && isAborted) return `atomicity: ${rms}`;
  if (isCommitted && rms.includes('working')) return `validity: committed unprepared: ${rms}`;
  if (isCommitted && branches > 1 && !log.wasRecorded) return `committed undecided: ${rms}`;
  if (log.wasRecorded && isAborted) return `decision stability: recorded, but ${rms}`;
  if (told === 'committed' && isAborted) return `false success: told committed, but ${rms}`;
  if (told === 'aborted' && isCommitted) return `false failure: told aborted, but ${rms}`;
  return undefined;
}

function stepsOf(world: World, options: WorldOptions): readonly Step[] {
  const steps: Step[] = [];
  const add = (label: string, change: (next: World) => void): void => {
    const next = copyOf(world);
    change(next);
    steps.push([label, canonical(next)]);
  };
  if (world.isAlive) coordinatorSteps(world, options, add);
  for (const [index, ghost] of world.ghosts.entries()) {
    for (const choice of choicesOf(world, ghost, options)) {
      add(`late ${show(ghost)} arrives${choice}`, (next) => {
        next.ghosts.splice(index, 1);
        arrive(next, ghost, choice, options);
      });
    }
  }
  for (const index of world.recoverers.keys()) recovererSteps(world, index, options, add);
  const { log, rms } = world;
  const isAcknowledged =
    log.acknowledged.length === prepareable(rms) - (options.hasLastResource === true ? 1 : 0);
  if (
    log.hasRecord &&
    (isAcknowledged || has(options, 'record forgotten before all acknowledgements'))
  ) {
    add('the log forgets the record', (next) => {
      next.log.hasRecord = false;
    });
  }
  for (const [branch, rm] of rms.entries()) {
    const isLast = options.hasLastResource === true && branch === rms.length - 1;
    const isHeld = world.ghosts.some((each) =>
      'branch' in each ? each.branch === branch : isLast && each.type === 'decide',
    );
    if (!world.isAlive && rm === 'working' && !isHeld) {
      add(`resource ${branch} rolls back with its connection`, (next) => {
        next.rms[branch] = 'aborted';
      });
    }
  }
  return steps;
}

/** Only what steps change in place is copied; machines and effects are never changed. */
function copyOf(world: World): World {
  const { requests, replies, ghosts, log, rms, recoverers } = world;
  return {
    ...world,
    requests: [...requests],
    replies: [...replies],
    ghosts: [...ghosts],
    log: { ...log },
    rms: [...rms],
    recoverers: [...recoverers],
  };
}

/** What is under way has no order, so states that differ only in it are one. */
function canonical(world: World): World {
  const inOrder = <About extends TwoPhaseEffect | TwoPhaseEvent>(all: About[]): About[] =>
    all.length < 2 ? all : all.sort((one, other) => (show(one) < show(other) ? -1 : 1));
  world.requests = inOrder(world.requests);
  world.replies = inOrder(world.replies);
  const late = new Map(world.ghosts.map((ghost) => [show(ghost), ghost]));
  world.ghosts = inOrder(Array.from(late.values()));
  const rank = new Map(world.recoverers.map((each) => [each, JSON.stringify(each)]));
  world.recoverers.sort((one, other) => ((rank.get(one) ?? '') < (rank.get(other) ?? '') ? -1 : 1));
  return world;
}

type Add = (label: string, change: (next: World) => void) => void;

function coordinatorSteps(world: World, options: WorldOptions, add: Add): void {
  const { tm, requests, replies, losses } = world;
  const isOnePhase = options.isOnePhase === true;
  if (tm.phase === 'working') {
    const lastResource = options.hasLastResource === true ? world.rms.length - 1 : undefined;
    add('the body returns', (next) => {
      happen(next, { type: 'work-done', isOnePhase, lastResource }, options);
      if (!has(options, 'last resource committed first')) return;
      next.rms[next.rms.length - 1] = 'committed';
      Object.assign(next.log, { hasRecord: true, wasRecorded: true });
    });
  }
  if (tm.phase !== 'committed' && tm.phase !== 'aborted' && !tm.isInDoubt) {
    add('time runs out', (next) => {
      const isGuess = has(options, 'time-out while deciding treated as abort');
      if (isGuess && tm.phase === 'deciding') next.tm = { ...tm, phase: 'preparing' };
      happen(next, TIMEOUT, options);
    });
  }
  add('the coordinator stops', (next) => {
    next.isAlive = false;
    next.ghosts.push(...next.requests.filter(({ type }) => type !== 'inspect'));
    next.requests = [];
    next.replies = [];
  });
  for (const [index, request] of requests.entries()) {
    for (const choice of choicesOf(world, request, options)) {
      add(`${show(request)} arrives${choice}`, (next) => {
        next.requests.splice(index, 1);
        const reply = arrive(next, request, choice, options);
        if (reply !== undefined) next.replies.push(reply);
      });
    }
    const lost = lostReply(request);
    if (lost === undefined || losses >= options.lossesMax) continue;
    add(`${show(request)} is delayed, no reply`, (next) => {
      next.losses += 1;
      next.requests.splice(index, 1);
      next.ghosts.push(request);
      happen(next, lost, options);
    });
  }
  for (const [index, reply] of replies.entries()) {
    add(`reply ${show(reply)}`, (next) => {
      next.replies.splice(index, 1);
      happen(next, reply, options);
    });
    const lost = lostReply(reply);
    if (lost === undefined || losses >= options.lossesMax) continue;
    add(`reply ${show(reply)} is lost`, (next) => {
      next.losses += 1;
      next.replies.splice(index, 1);
      happen(next, lost, options);
    });
  }
}

/** How a request can turn out at its resource, as the ending of a label. */
function choicesOf(world: World, effect: TwoPhaseEffect, options: WorldOptions): readonly string[] {
  if (effect.type === 'prepare' && world.rms[effect.branch] === 'working') {
    return options.mayReadOnly === true ? [': yes', ': no', ': read-only'] : [': yes', ': no'];
  }
  const isOnePhase = effect.type === 'commit-one-phase';
  return isOnePhase && world.rms[effect.branch] === 'working' ? [': commits', ': fails'] : [''];
}

function lostReply(about: TwoPhaseEffect | TwoPhaseEvent): TwoPhaseEvent | undefined {
  switch (about.type) {
    case 'prepare':
    case 'voted':
      return {
        type: 'voted',
        branch: about.branch,
        participant: 'p',
        vote: { vote: 'lost', reason: '', cause: null },
      };
    case 'decide':
    case 'settle':
    case 'decided':
      return { type: 'decided', answer: 'lost', cause: CAUSE };
    case 'commit-one-phase':
    case 'one-phase-ended':
      return { type: 'one-phase-ended', answer: 'lost', evidence: '', cause: CAUSE };
    default:
      return undefined;
  }
}

/** A request takes effect at its resource or log; answers the reply. */
function arrive(
  world: World,
  effect: TwoPhaseEffect,
  choice: string,
  options: WorldOptions,
): TwoPhaseEvent | undefined {
  const { rms, log } = world;
  switch (effect.type) {
    case 'prepare': {
      const { branch } = effect;
      if (rms[branch] === 'working') rms[branch] = rmAfterPrepare(choice);
      const vote = voteOf(rms[branch]);
      return { type: 'voted', branch, participant: 'p', vote };
    }
    case 'commit-one-phase': {
      const { branch } = effect;
      if (rms[branch] === 'working') rms[branch] = choice === ': commits' ? 'committed' : 'aborted';
      const answer = rms[branch] === 'committed' ? 'committed' : 'aborted';
      return { type: 'one-phase-ended', answer, evidence: '', cause: CAUSE };
    }
    case 'decide':
      if (options.hasLastResource === true) return decideLast(world, options);
      return { type: 'decided', answer: decide(log, options), cause: CAUSE };
    case 'settle': {
      if (!log.hasRecord && !has(options, 'settled without a mark')) log.isMarked = true;
      return { type: 'decided', answer: log.hasRecord ? 'committed' : 'aborted', cause: CAUSE };
    }
    case 'inspect':
      return { type: 'inspected', outcomes: rms.map(outcomeOf) };
    case 'commit':
      if (rms[effect.branch] === 'prepared') rms[effect.branch] = 'committed';
      return rms[effect.branch] === 'committed'
        ? { type: 'branch-ended', branch: effect.branch }
        : undefined;
    case 'abort':
      abortRm(world, effect.branch);
      return { type: 'branch-ended', branch: effect.branch };
    case 'acknowledge':
      acknowledge(log, effect.branch);
      return undefined;
    default:
      return undefined;
  }
}

function rmAfterPrepare(choice: string): Rm {
  if (choice === ': read-only') return 'read-only';
  return choice === ': yes' ? 'prepared' : 'aborted';
}

function voteOf(rm: Rm | undefined): Extract<TwoPhaseEvent, { type: 'voted' }>['vote'] {
  if (rm === 'read-only') return { vote: 'read-only' };
  return rm === 'prepared' ? { vote: 'yes', evidence: '' } : { vote: 'no', reason: '' };
}

function outcomeOf(rm: Rm): BranchOutcome {
  return rm === 'working' || rm === 'read-only' ? 'unknown' : rm;
}

function decide(log: World['log'], options: WorldOptions): 'committed' | 'fenced' {
  if (log.hasRecord) return 'committed';
  if (log.isFenced && !has(options, 'decision without the incarnation check')) return 'fenced';
  Object.assign(log, { hasRecord: true, wasRecorded: true });
  return 'committed';
}

/** The commit of the last resource, with the record inside: both or neither, and only once. */
function decideLast({ rms, log }: World, options: WorldOptions): TwoPhaseEvent {
  const last = rms.length - 1;
  if (rms[last] === 'working') {
    const isRefused = log.isMarked || decide(log, options) === 'fenced';
    rms[last] = isRefused ? 'aborted' : 'committed';
  }
  const answer = rms[last] === 'committed' ? 'committed' : 'aborted';
  return { type: 'decided', answer, cause: CAUSE };
}

/** An abort that overtakes the prepare finds nothing; the prepare may still arrive. */
function abortRm(world: World, branch: number): void {
  const isUnderWay = [...world.requests, ...world.ghosts].some(
    (each) =>
      (each.type === 'prepare' && each.branch === branch) ||
      // Its connection is busy with the commit that is under way.
      (each.type === 'decide' && world.tm.lastResource === branch),
  );
  const rm = world.rms[branch];
  if (rm === 'prepared' || (rm === 'working' && !isUnderWay)) world.rms[branch] = 'aborted';
}

function acknowledge(log: World['log'], branch: number): void {
  if (!log.acknowledged.includes(branch)) log.acknowledged = [...log.acknowledged, branch].sort();
}

function prepareable(rms: readonly Rm[]): number {
  return rms.filter((rm) => rm !== 'read-only').length;
}

/** The coordinator's machine takes an event, and its effects go out. */
function happen(world: World, event: TwoPhaseEvent, options: WorldOptions): void {
  const [tm, effects] = twoPhase(world.tm, mistaken(event, options));
  world.tm = tm;
  for (const effect of effects) {
    if (effect.type === 'conclude') {
      if (world.told === null) world.told = effect.outcome;
      // In doubt is an honest answer to everything that follows.
    } else if (effect.type === 'doubt') {
      world.told = 'in-doubt';
    } else if (
      effect.type === 'inspect' &&
      has(options, 'fenced after a lost reply treated as abort')
    ) {
      happen(world, { type: 'inspected', outcomes: ['aborted'] }, options);
    } else {
      world.requests.push(effect);
      if (effect.type === 'commit' && has(options, 'acknowledged before committed')) {
        acknowledge(world.log, effect.branch);
      }
    }
  }
}

function mistaken(event: TwoPhaseEvent, options: WorldOptions): TwoPhaseEvent {
  if (event.type === 'decided' && event.answer === 'lost') {
    if (has(options, 'lost decision treated as failure')) return { ...event, answer: 'refused' };
    if (has(options, 'lost decision treated as success')) return { ...event, answer: 'committed' };
  }
  if (
    event.type === 'voted' &&
    event.vote.vote === 'lost' &&
    has(options, 'lost vote treated as yes')
  ) {
    return { ...event, vote: { vote: 'yes', evidence: '' } };
  }
  return event;
}

/** Begin, or do the next effect: a recoverer that stops is one that takes no further step. */
function recovererSteps(world: World, index: number, options: WorldOptions, add: Add): void {
  const recoverer = world.recoverers[index] ?? null;
  if (recoverer === null) {
    // Idle ones are alike: only the first of them begins.
    if (world.recoverers.indexOf(null) !== index) return;
    beginRecovery(world, index, options, add);
    return;
  }
  const [effect, ...rest] = recoverer.effects;
  if (effect === undefined) return;
  add(`R${index} ${effect.type}${'branchId' in effect ? effect.branchId : ''}`, (next) => {
    let { machine } = recoverer;
    const more: RecoveryEffect[] = [];
    const feed = (event: Parameters<typeof recovery>[1]): void => {
      const [after, effects] = recovery(machine, event);
      machine = after;
      more.push(...effects);
    };
    if (effect.type === 'fence') {
      if (!has(options, 'recoverer without a fence')) next.log.isFenced = true;
      feed({ type: 'fenced' });
    } else if (effect.type === 'find') {
      const isMistaken = has(options, 'commit on absence');
      const record = next.log.hasRecord || isMistaken ? recordOf(next) : undefined;
      feed({ type: 'found', record });
    } else if (effect.type === 'abort') {
      abortRm(next, Number(effect.branchId));
    } else {
      const branch = Number(effect.branchId);
      if (next.rms[branch] === 'prepared') next.rms[branch] = 'committed';
      if (next.rms[branch] === 'committed' && next.log.hasRecord) acknowledge(next.log, branch);
    }
    const effects = [...rest, ...more];
    next.recoverers[index] = effects.length === 0 ? null : { machine, effects };
  });
}

function beginRecovery(world: World, index: number, options: WorldOptions, add: Add): void {
  const { rms, log, tm, isAlive, requests, replies } = world;
  const prepared = Array.from(rms.keys()).filter((branch) => rms[branch] === 'prepared');
  const pending = log.hasRecord
    ? Array.from(rms.keys()).filter((branch) => {
        const isLast = options.hasLastResource === true && branch === rms.length - 1;
        return rms[branch] !== 'read-only' && !isLast && !log.acknowledged.includes(branch);
      })
    : [];
  const found = prepared.length > 0 ? prepared : pending;
  if (found.length === 0) return;
  const begin = (owner: 'dead' | 'own') => (next: World) => {
    const [machine, effects] = recovery(recoveryStart(found.map(String)), { type: 'start', owner });
    next.recoverers[index] = { machine, effects: [...effects] };
  };
  // Also while it lives: others only suspect that it died.
  add(`R${index} lists ${found}`, begin('dead'));
  const isOver =
    ['committed', 'aborted'].includes(tm.phase) && requests.length + replies.length === 0;
  const isHasty = has(options, 'own sweep of a transaction under way') && tm.phase !== 'working';
  if (isAlive && (isOver || isHasty)) add(`R${index} sweeps its own ${found}`, begin('own'));
}

function recordOf({ rms }: World): CommitRecord {
  const branches = Array.from(rms.keys())
    .filter((branch) => rms[branch] !== 'read-only')
    .map((branch) => ({ participant: `p${branch}`, branchId: `${branch}`, evidence: '' }));
  return { transactionId: 't' as never, resourceId: 'r', nodeId: 'n', branches };
}

function has({ faults = [] }: WorldOptions, fault: Fault): boolean {
  return faults.includes(fault);
}

function show(about: TwoPhaseEffect | TwoPhaseEvent): string {
  const branch = 'branch' in about ? ` ${about.branch}` : '';
  return `${about.type}${branch}${'answer' in about ? ` ${about.answer}` : ''}`;
}
