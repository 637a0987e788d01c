import { type Deferred, deferred } from '../core/deferred.js';
import type { TransactionId } from '../core/ids.js';
import type { CoordinatorHost, EnlistedBranch } from './host.js';
import { publishFailure } from './protocol-calls.js';
import { confirmKey, releaseKey, taskOf } from './protocol-tasks.js';
import {
  type AbortCause,
  TWO_PHASE_START,
  type TwoPhaseEffect,
  type TwoPhaseEvent,
  type TwoPhaseState,
  twoPhase,
} from './two-phase.js';

/** Which transaction a protocol runs for. */
export interface ProtocolSubject {
  readonly transactionId: TransactionId;
  readonly resourceId: string;
  readonly incarnation: string;
  /** Reserved before the decision. */
  readonly key: string | undefined;
  /** Aborted when the body's work must end; a prepare is not waited for any longer. */
  readonly workSignal: AbortSignal;
  /** Milliseconds until the caller must be answered; zero or less afterwards. */
  readonly remainingMs: () => number;
}

/** The machine {@link twoPhase} with its effects performed. */
export interface Protocol {
  readonly state: () => TwoPhaseState;
  readonly branches: readonly EnlistedBranch[];
  enlisted(branch: EnlistedBranch): void;
  workDone(): void;
  giveUp(cause: AbortCause): void;
  /** What can be told by the deadline. */
  readonly answer: Promise<'committed' | 'aborted' | 'in-doubt'>;
  /** What became of it in the end; never settles if this process cannot find out. */
  readonly conclusion: Promise<'committed' | 'aborted'>;
  /** Every branch was told the outcome once, whether or not it answered. */
  readonly told: Promise<void>;
  /** Nothing is under way any more. */
  readonly ended: Promise<void>;
}

/** What is known, and what is under way, of one transaction. */
export interface Running {
  readonly host: CoordinatorHost;
  readonly subject: ProtocolSubject;
  readonly branches: EnlistedBranch[];
  state: TwoPhaseState;
  /** Tasks under way; of these, branches that have not been told the outcome; and commits. */
  tasks: number;
  untold: number;
  commits: number;
  /** Tries to decide or to inspect so far. */
  attempts: number;
  /** Whether the log was asked for the key; it may hold a reservation. */
  isKeyAsked: boolean;
  /** How the branches ended that were told to; made by who asks first. */
  readonly endings: Map<number, Deferred<'ended' | 'left'>>;
  /** Called when a branch was not ended by the first try: who waits for it need not be waited for. */
  readonly onLate: Set<() => void>;
  /** Participants that committed, and that the log has not been told of. */
  readonly acknowledged: string[];
  readonly answer: Deferred<'committed' | 'aborted' | 'in-doubt'>;
  readonly conclusion: Deferred<'committed' | 'aborted'>;
  readonly told: Deferred<void>;
  readonly ended: Deferred<void>;
  /** Feeds the machine and performs what it answers. */
  happen(event: TwoPhaseEvent): void;
  /** Tells those who wait for the end of all, or of the first round. */
  settle(): void;
}

/** A protocol for a transaction without branches yet. */
export function protocol(host: CoordinatorHost, subject: ProtocolSubject): Protocol {
  const running: Running = {
    host,
    subject,
    branches: [],
    state: TWO_PHASE_START,
    tasks: 0,
    untold: 0,
    commits: 0,
    attempts: 0,
    isKeyAsked: false,
    endings: new Map(),
    onLate: new Set(),
    acknowledged: [],
    answer: deferred(),
    conclusion: deferred(),
    told: deferred(),
    ended: deferred(),
    happen: (event) => happen(running, event),
    settle: () => settle(running),
  };
  const { branches, answer, conclusion, told, ended } = running;
  return {
    state: () => running.state,
    branches,
    enlisted(branch) {
      branches.push(branch);
      happen(running, { type: 'enlisted' });
    },
    workDone() {
      // A key is reserved for a decision, so there has to be one.
      const isOnePhase =
        subject.key === undefined && branches[0]?.branch.commitOnePhase !== undefined;
      const index = branches.findIndex((each) => each.participant === host.lastResource);
      const lastResource = index < 0 || (isOnePhase && branches.length === 1) ? undefined : index;
      happen(running, { type: 'work-done', isOnePhase, lastResource });
    },
    giveUp: (cause) => happen(running, { type: 'give-up', cause }),
    answer: answer.promise,
    conclusion: conclusion.promise,
    told: told.promise,
    ended: ended.promise,
  };
}

function happen(running: Running, event: TwoPhaseEvent): void {
  const [state, effects] = twoPhase(running.state, event);
  running.state = state;
  for (const effect of effects) perform(running, effect);
  settle(running);
}

function settle({ state, host, tasks, untold, told, ended }: Running): void {
  const isOver = state.phase === 'committed' || state.phase === 'aborted';
  if (isOver && untold === 0) told.resolve();
  if (tasks === 0 && (isOver || host.stopped.aborted)) ended.resolve();
}

function perform(running: Running, effect: TwoPhaseEffect): void {
  switch (effect.type) {
    case 'conclude':
      running.answer.resolve(effect.outcome);
      running.conclusion.resolve(effect.outcome);
      if (running.isKeyAsked) {
        const isAborted = effect.outcome === 'aborted';
        start(running, () => (isAborted ? releaseKey(running) : confirmKey(running)));
      }
      break;
    case 'doubt':
      running.answer.resolve('in-doubt');
      break;
    case 'acknowledge': {
      running.acknowledged.push(...endedNames(running, effect.branch));
      break;
    }
    default:
      start(running, taskOf(running, effect));
  }
}

/** The participants of a branch that has committed, and of which no other branch still has to. */
function endedNames({ branches, state }: Running, index: number): readonly string[] {
  const namesOf = ({ participant, decided }: EnlistedBranch): readonly string[] =>
    decided === undefined ? [participant.name] : decided().map((each) => each.participant);
  const others = branches.filter((_, other) => state.branches[other]?.state === 'prepared');
  const left = new Set(others.flatMap(namesOf));
  const enlisted = branches[index];
  return enlisted === undefined ? [] : namesOf(enlisted).filter((name) => !left.has(name));
}

/** Runs a task in the background: it reports by events, and never rejects. */
function start(running: Running, task: () => Promise<void>): void {
  running.tasks += 1;
  const over = (): void => {
    running.tasks -= 1;
    settle(running);
  };
  task().then(over, (error: unknown) => {
    publishFailure(running, 'protocol', error);
    over();
  });
}
