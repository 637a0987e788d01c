import type { BranchOutcome, Vote } from './participant.js';

/**
 * Two-phase commit with presumed abort and incarnation fencing, as a pure machine:
 * (state, event) → [state, effects]. It does no I/O and knows no clock; the engine performs its
 * effects, and the exhaustive explorer in the tests drives the same code.
 *
 * The words are those of Gray and Lamport's TLA+ module TwoPhase (Consensus on Transaction Commit,
 * 2006): resource managers are `working`, `prepared`, `committed` or `aborted`; the comments name
 * its actions. What is added is how a decision is made durable: one step of the log that a
 * recoverer's fence can refuse, and whose lost reply is neither yes nor no.
 */
export interface TwoPhaseState {
  readonly phase: TwoPhasePhase;
  readonly branches: readonly ResourceManager[];
  /** A reply of the deciding step was lost: the transaction may be committed already. */
  readonly isUncertain: boolean;
  /** Set when the caller was told that the outcome is not known. */
  readonly isInDoubt: boolean;
  readonly cause?: AbortCause | undefined;
  /** The branch that is not prepared: its own commit, with the record inside, is the decision. */
  readonly lastResource?: number | undefined;
}

/**
 * `deciding` and `one-phase` are the phases in which the outcome is out of the coordinator's hands.
 */
export type TwoPhasePhase =
  | 'working'
  | 'preparing'
  | 'deciding'
  | 'one-phase'
  | 'committed'
  | 'aborted';

/** A branch as the coordinator sees it. */
export interface ResourceManager {
  readonly state: 'working' | 'preparing' | 'prepared' | 'read-only' | 'committed' | 'aborted';
  readonly evidence: string;
}

/** Who aborted a transaction, and why. */
export interface AbortCause {
  readonly by: AbortedBy;
  readonly reason: string;
  /** The participant's name, when `by` is 'participant'. */
  readonly participant?: string | undefined;
  /** The error behind it, where there was one. */
  readonly cause?: unknown;
}

/**
 * Who aborted a transaction: its body threw ('body') or asked for it ('rollback-only'), a
 * participant voted no or did not answer, its time ran out, the caller's signal was aborted, a
 * recoverer fenced the coordinator, the log refused, another transaction had its key, or the
 * coordinator was closed.
 */
export type AbortedBy =
  | 'body'
  | 'rollback-only'
  | 'participant'
  | 'timeout'
  | 'signal'
  | 'fence'
  | 'log'
  | 'key'
  | 'close';

/** What happens to a transaction. `branch` is an index into `branches`. */
export type TwoPhaseEvent =
  | { readonly type: 'enlisted' }
  /**
   * The body returned. `isOnePhase`: the only branch can commit without prepare. `lastResource`: the
   * branch that commits with the decision.
   */
  | {
      readonly type: 'work-done';
      readonly isOnePhase: boolean;
      readonly lastResource?: number | undefined;
    }
  | { readonly type: 'give-up'; readonly cause: AbortCause }
  | {
      readonly type: 'voted';
      readonly branch: number;
      readonly vote: Vote | LostVote;
      readonly participant: string;
    }
  /**
   * 'refused': this step recorded nothing. 'aborted': no step did, nor ever will. 'lost': nobody
   * knows.
   */
  | {
      readonly type: 'decided';
      readonly answer: 'committed' | 'fenced' | 'refused' | 'aborted' | 'lost';
      /** Of a lost reply of the last resource: by what its branch can be looked up. */
      readonly evidence?: string | undefined;
      readonly cause: AbortCause;
    }
  | {
      readonly type: 'one-phase-ended';
      readonly answer: 'committed' | 'aborted' | 'lost';
      readonly evidence: string;
      readonly cause: AbortCause;
    }
  /** What each branch's evidence says, after a reply was lost. */
  | { readonly type: 'inspected'; readonly outcomes: readonly BranchOutcome[] }
  | { readonly type: 'branch-ended'; readonly branch: number };

/** No reply came to a prepare: the branch may be prepared, or become so later. */
export interface LostVote {
  readonly vote: 'lost';
  readonly reason: string;
  readonly cause: unknown;
}

/** What the engine is to do. An effect may be performed twice; each one reports by an event. */
export type TwoPhaseEffect =
  | { readonly type: 'prepare'; readonly branch: number }
  | { readonly type: 'commit-one-phase'; readonly branch: number }
  | { readonly type: 'decide' }
  /** Of a last resource, whose decision can be made only once: keep it from being made still. */
  | { readonly type: 'settle' }
  | { readonly type: 'inspect' }
  | { readonly type: 'commit'; readonly branch: number }
  /** `isLost`: its prepare was not answered, so the participant itself is asked too. */
  | { readonly type: 'abort'; readonly branch: number; readonly isLost: boolean }
  | { readonly type: 'acknowledge'; readonly branch: number }
  /** The outcome is final. */
  | { readonly type: 'conclude'; readonly outcome: 'committed' | 'aborted' }
  /** Time ran out with the outcome unknown; it stays to be found out. */
  | { readonly type: 'doubt' };

/** The new state and what to do. */
export type TwoPhaseStep = readonly [TwoPhaseState, readonly TwoPhaseEffect[]];

/** A transaction without branches. */
export const TWO_PHASE_START: TwoPhaseState = {
  phase: 'working',
  branches: [],
  isUncertain: false,
  isInDoubt: false,
};

/** One step of the machine. An event that comes too late to matter changes nothing. */
export function twoPhase(state: TwoPhaseState, event: TwoPhaseEvent): TwoPhaseStep {
  switch (event.type) {
    case 'enlisted':
      return enlisted(state);
    case 'work-done':
      return state.phase === 'working' ? workDone(state, event) : [state, []];
    case 'give-up':
      return giveUp(state, event.cause);
    case 'voted':
      return voted(state, event);
    case 'decided':
      return state.phase === 'deciding' ? decided(state, event) : [state, []];
    case 'one-phase-ended':
      return state.phase === 'one-phase' ? onePhaseEnded(state, event) : [state, []];
    case 'inspected':
      return inspected(state, event.outcomes);
    case 'branch-ended':
      return branchEnded(state, event.branch);
  }
}

function enlisted(state: TwoPhaseState): TwoPhaseStep {
  const branch = state.branches.length;
  const branches = [...state.branches, { state: 'working', evidence: '' } as const];
  if (state.phase === 'working') return [{ ...state, branches }, []];
  // It came after the end: nothing was done in it, and it is let go.
  return [
    withBranch({ ...state, branches }, branch, { state: 'aborted', evidence: '' }),
    [{ type: 'abort', branch, isLost: false }],
  ];
}

function workDone(
  state: TwoPhaseState,
  { isOnePhase, lastResource }: Extract<TwoPhaseEvent, { type: 'work-done' }>,
): TwoPhaseStep {
  if (state.branches.length === 0) return commit(state);
  if (state.branches.length === 1 && isOnePhase) {
    return [{ ...state, phase: 'one-phase' }, [{ type: 'commit-one-phase', branch: 0 }]];
  }
  const branches = state.branches.map((each, branch) =>
    branch === lastResource ? each : { ...each, state: 'preparing' as const },
  );
  const preparing: TwoPhaseState = { ...state, phase: 'preparing', branches };
  if (lastResource !== undefined) Object.assign(preparing, { lastResource });
  const effects = indexesOf(preparing, ['preparing']).map((branch) => ({
    type: 'prepare' as const,
    branch,
  }));
  return effects.length > 0 ? [preparing, effects] : decideWhenAllVoted(preparing);
}

/** TMAbort, by the coordinator's own choice: allowed until the deciding step was sent. */
function giveUp(state: TwoPhaseState, cause: AbortCause): TwoPhaseStep {
  if (state.phase === 'working' || state.phase === 'preparing') return abort(state, cause);
  const isWaiting = state.phase === 'deciding' || state.phase === 'one-phase';
  const isOver = cause.by === 'timeout' || cause.by === 'close';
  if (!isWaiting || !isOver || state.isInDoubt) return [state, []];
  return [{ ...state, isInDoubt: true }, [{ type: 'doubt' }]];
}

/** TMRcvPrepared, or RMChooseToAbort seen from here. */
function voted(
  state: TwoPhaseState,
  { branch, vote, participant }: Extract<TwoPhaseEvent, { type: 'voted' }>,
): TwoPhaseStep {
  if (state.branches[branch]?.state !== 'preparing') return [state, []];
  const isLost = vote.vote === 'lost';
  if (state.phase === 'aborted') {
    if (vote.vote === 'read-only') return [withState(state, branch, 'read-only'), []];
    return [state, [{ type: 'abort', branch, isLost }]];
  }
  if (vote.vote === 'yes') {
    const { evidence } = vote;
    return decideWhenAllVoted(withBranch(state, branch, { state: 'prepared', evidence }));
  }
  if (vote.vote === 'read-only') return decideWhenAllVoted(withState(state, branch, 'read-only'));
  const { reason, cause } = vote;
  const [aborted, effects] = abort(state, { by: 'participant', participant, reason, cause });
  return [aborted, [...effects, { type: 'abort', branch, isLost }]];
}

/** TMCommit is a step of the log: the coordinator only asks for it, once everybody has voted. */
function decideWhenAllVoted(state: TwoPhaseState): TwoPhaseStep {
  if (state.branches.some((each) => each.state === 'preparing')) return [state, []];
  // Whoever only read is over: without anybody prepared there is nothing to decide.
  if (state.branches.every((each) => each.state === 'read-only')) return commit(state);
  return [{ ...state, phase: 'deciding' }, [{ type: 'decide' }]];
}

function decided(
  state: TwoPhaseState,
  { answer, cause, evidence = '' }: Extract<TwoPhaseEvent, { type: 'decided' }>,
): TwoPhaseStep {
  if (answer === 'committed') return commit(state);
  const { lastResource } = state;
  if (answer === 'lost' && lastResource !== undefined) {
    const known = state.branches[lastResource]?.evidence || evidence;
    const looked = withBranch(state, lastResource, { state: 'working', evidence: known });
    return [{ ...looked, isUncertain: true, cause }, [{ type: 'settle' }]];
  }
  // A lost reply is neither a failure nor a success; the step is idempotent, so it is sent again.
  if (answer === 'lost') return [{ ...state, isUncertain: true }, [{ type: 'decide' }]];
  if (!state.isUncertain) return abort(state, cause);
  // An earlier, unanswered step may have been recorded, and even been acknowledged and forgotten.
  const isAbsent = answer === 'fenced' || answer === 'aborted';
  return [{ ...state, cause }, [{ type: isAbsent ? 'inspect' : 'decide' }]];
}

function onePhaseEnded(
  state: TwoPhaseState,
  { answer, evidence, cause }: Extract<TwoPhaseEvent, { type: 'one-phase-ended' }>,
): TwoPhaseStep {
  if (answer === 'committed') return commit(withState(state, 0, 'committed'));
  if (answer === 'aborted') return abort(withState(state, 0, 'aborted'), cause);
  const uncertain = withBranch(state, 0, { state: 'working', evidence });
  return [{ ...uncertain, isUncertain: true, cause }, [{ type: 'inspect' }]];
}

/**
 * Evidence after a lost reply. When it is asked for in `deciding`, the incarnation is fenced and
 * there is no record: either there never was one, or every branch committed before it was
 * forgotten. So a single branch that is not committed proves the abort.
 */
function inspected(state: TwoPhaseState, outcomes: readonly BranchOutcome[]): TwoPhaseStep {
  if (state.phase !== 'deciding' && state.phase !== 'one-phase') return [state, []];
  const proofs: readonly BranchOutcome[] =
    state.phase === 'deciding' ? ['aborted', 'prepared'] : ['aborted'];
  if (outcomes.includes('committed')) {
    return commit(state.phase === 'one-phase' ? withState(state, 0, 'committed') : state);
  }
  if (outcomes.some((each) => proofs.includes(each))) {
    return abort(state, state.cause ?? { by: 'log', reason: 'the decision was not recorded' });
  }
  return [state, [{ type: 'inspect' }]];
}

/** RMRcvCommitMsg or RMRcvAbortMsg was answered. */
function branchEnded(state: TwoPhaseState, branch: number): TwoPhaseStep {
  if (state.phase === 'aborted') return [withState(state, branch, 'aborted'), []];
  if (state.phase !== 'committed') return [state, []];
  if (state.branches[branch]?.state !== 'prepared') return [state, []];
  return [withState(state, branch, 'committed'), [{ type: 'acknowledge', branch }]];
}

function commit(state: TwoPhaseState): TwoPhaseStep {
  const effects = indexesOf(state, ['prepared']).map((branch) => ({
    type: 'commit' as const,
    branch,
  }));
  const { lastResource } = state;
  const decided = lastResource === undefined ? state : withState(state, lastResource, 'committed');
  return [
    { ...decided, phase: 'committed', cause: undefined },
    [{ type: 'conclude', outcome: 'committed' }, ...effects],
  ];
}

/** Branches that are still preparing are aborted when they have answered. */
function abort(state: TwoPhaseState, cause: AbortCause): TwoPhaseStep {
  const effects = indexesOf(state, ['working', 'prepared']).map((branch) => ({
    type: 'abort' as const,
    branch,
    isLost: false,
  }));
  return [
    { ...state, phase: 'aborted', cause },
    [{ type: 'conclude', outcome: 'aborted' }, ...effects],
  ];
}

function indexesOf(
  { branches }: TwoPhaseState,
  states: readonly ResourceManager['state'][],
): readonly number[] {
  return branches.flatMap(({ state }, index) => (states.includes(state) ? [index] : []));
}

function withState(
  state: TwoPhaseState,
  branch: number,
  to: ResourceManager['state'],
): TwoPhaseState {
  return withBranch(state, branch, { state: to, evidence: state.branches[branch]?.evidence ?? '' });
}

function withBranch(state: TwoPhaseState, branch: number, to: ResourceManager): TwoPhaseState {
  return { ...state, branches: state.branches.with(branch, to) };
}
