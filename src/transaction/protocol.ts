import type { LazyAbort } from '../core/abort.js';
import { type Deferred, Latch } from '../core/deferred.js';
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
  readonly work: LazyAbort;
  /** Called once, when nothing is under way any more. */
  readonly onEnded: () => void;
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
  readonly isTold: boolean;
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
  /** How the branches ended that were told to, by their indexes. */
  readonly endings: ('ended' | 'left' | undefined)[];
  /** Those who wait for that; made by who asks first, and so is the next. */
  awaited: Map<number, Deferred<'ended' | 'left'>> | undefined;
  /** Called when a branch was not ended by the first try: who waits for it need not be waited for. */
  onLate: Set<() => void> | undefined;
  /** Participants that committed, and that the log has not been told of. */
  readonly acknowledged: string[];
  readonly answer: Latch<'committed' | 'aborted' | 'in-doubt'>;
  readonly conclusion: Latch<'committed' | 'aborted'>;
  readonly told: Latch<void>;
  readonly ended: Latch<void>;
  /** Feeds the machine and performs what it answers. */
  happen(event: TwoPhaseEvent): void;
  /** Tells those who wait for the end of all, or of the first round. */
  settle(): void;
}

/** A protocol for a transaction without branches yet. */
export function protocol(host: CoordinatorHost, subject: ProtocolSubject): Protocol {
  return new TwoPhaseProtocol(host, subject);
}

/** A class like the next one, because every transaction has them. */
class RunningTwoPhase implements Running {
  readonly host: CoordinatorHost;
  readonly subject: ProtocolSubject;
  readonly branches: EnlistedBranch[] = [];
  state: TwoPhaseState = TWO_PHASE_START;
  tasks = 0;
  untold = 0;
  commits = 0;
  attempts = 0;
  isKeyAsked = false;
  readonly endings: Running['endings'] = [];
  awaited: Running['awaited'] = undefined;
  onLate: Running['onLate'] = undefined;
  readonly acknowledged: string[] = [];
  readonly answer: Running['answer'] = new Latch();
  readonly conclusion: Running['conclusion'] = new Latch();
  readonly told: Running['told'] = new Latch();
  readonly ended: Running['ended'] = new Latch();

  constructor(host: CoordinatorHost, subject: ProtocolSubject) {
    this.host = host;
    this.subject = subject;
  }

  happen(event: TwoPhaseEvent): void {
    const [state, effects] = twoPhase(this.state, event);
    this.state = state;
    for (const effect of effects) perform(this, effect);
    this.settle();
  }

  settle(): void {
    const { state, host, tasks, untold, told, ended, subject } = this;
    const isOver = state.phase === 'committed' || state.phase === 'aborted';
    if (isOver && untold === 0) told.resolve();
    if (tasks > 0 || ended.isSet || !(isOver || host.stopped.aborted)) return;
    ended.resolve();
    subject.onEnded();
  }
}

class TwoPhaseProtocol implements Protocol {
  readonly #running: Running;

  constructor(host: CoordinatorHost, subject: ProtocolSubject) {
    this.#running = new RunningTwoPhase(host, subject);
  }

  state(): TwoPhaseState {
    return this.#running.state;
  }

  get branches(): readonly EnlistedBranch[] {
    return this.#running.branches;
  }

  enlisted(branch: EnlistedBranch): void {
    this.#running.branches.push(branch);
    this.#running.happen({ type: 'enlisted' });
  }

  workDone(): void {
    const { branches, host, subject } = this.#running;
    // A key is reserved for a decision, so there has to be one.
    const isOnePhase =
      subject.key === undefined && branches[0]?.branch.commitOnePhase !== undefined;
    const index = branches.findIndex((each) => each.participant === host.lastResource);
    const lastResource = index < 0 || (isOnePhase && branches.length === 1) ? undefined : index;
    this.#running.happen({ type: 'work-done', isOnePhase, lastResource });
  }

  giveUp(cause: AbortCause): void {
    this.#running.happen({ type: 'give-up', cause });
  }

  get answer(): Protocol['answer'] {
    return this.#running.answer.promise;
  }

  get conclusion(): Protocol['conclusion'] {
    return this.#running.conclusion.promise;
  }

  get told(): Promise<void> {
    return this.#running.told.promise;
  }

  get isTold(): boolean {
    return this.#running.told.isSet;
  }

  get ended(): Promise<void> {
    return this.#running.ended.promise;
  }
}

function perform(running: Running, effect: TwoPhaseEffect): void {
  switch (effect.type) {
    case 'conclude':
      running.answer.resolve(effect.outcome);
      running.conclusion.resolve(effect.outcome);
      if (running.isKeyAsked) {
        const isAborted = effect.outcome === 'aborted';
        running.tasks += 1;
        follow(running, isAborted ? releaseKey(running) : confirmKey(running));
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
      running.tasks += 1;
      follow(running, taskOf(running, effect));
  }
}

/** The participants of a branch that has committed, and of which no other branch still has to. */
function endedNames({ branches, state }: Running, index: number): readonly string[] {
  const others = branches.filter((_, other) => state.branches[other]?.state === 'prepared');
  if (others.length === 0) return namesOf(branches[index]);
  const left = new Set(others.flatMap(namesOf));
  return namesOf(branches[index]).filter((name) => !left.has(name));
}

function namesOf(enlisted: EnlistedBranch | undefined): readonly string[] {
  if (enlisted?.decided !== undefined) return enlisted.decided().map((each) => each.participant);
  return enlisted === undefined ? [] : [enlisted.participant.name];
}

/** A task goes on in the background: it reports by events, and never rejects. */
function follow(running: Running, task: Promise<void>): void {
  const over = (): void => {
    running.tasks -= 1;
    running.settle();
  };
  task.then(over, (error: unknown) => {
    publishFailure(running, 'protocol', error);
    over();
  });
}
