/**
 * The life of one call at the server that took it, as a pure machine: (state, event) → [state,
 * effects]. It does no I/O and knows no clock; the engine performs its effects, and the exhaustive
 * explorer in the tests drives the same code.
 *
 * The one rule: before it has sent a yes the server may abort whenever it likes; from then on, whether
 * or not the reply to the vote came, it never decides alone.
 */
export interface ServedState {
  readonly phase: ServedPhase;
  /** Where the branches go, once that is known. */
  readonly outcome?: 'committed' | 'aborted' | undefined;
  /** Why it is a no. */
  readonly reason?: string | undefined;
}

/** `voting` and `prepared` are the phases in which the server waits for others. */
export type ServedPhase =
  | 'working'
  | 'preparing'
  | 'voting'
  | 'prepared'
  | 'applying'
  | 'refusing'
  | 'over';

/** What happens to a call. */
export type ServedEvent =
  /** The handler returned. */
  | { readonly type: 'worked' }
  /** Every branch is prepared. */
  | { readonly type: 'ready' }
  /** The handler threw, a branch voted no, or time is up. */
  | { readonly type: 'failed'; readonly reason: string }
  /** The call was ended, or given to another: nobody waits for the vote. */
  | { readonly type: 'dropped' }
  /** The store's answer to the vote. 'refused': another version stands there, without our vote. */
  | { readonly type: 'vote-answered'; readonly answer: 'recorded' | 'refused' }
  | { readonly type: 'decided'; readonly outcome: 'committed' | 'aborted' }
  /** Every branch has ended as `outcome` says. 'left': one could not be reached; the sweep does it. */
  | { readonly type: 'applied'; readonly answer: 'done' | 'left' };

/** What the engine is to do. Each effect reports by an event, except `let-go`. */
export type ServedEffect =
  | { readonly type: 'prepare' }
  | { readonly type: 'vote-yes' }
  | { readonly type: 'vote-no'; readonly reason: string }
  /** Wait for the decision. */
  | { readonly type: 'await' }
  | { readonly type: 'commit' }
  | { readonly type: 'abort' }
  /** Nothing is held here any more: the record may go, or to another server. */
  | { readonly type: 'let-go' };

/** The new state and what to do. */
export type ServedStep = readonly [ServedState, readonly ServedEffect[]];

/** A call that was just taken. */
export const SERVED_START: ServedState = { phase: 'working' };

/** One step of the machine. An event that comes too late to matter changes nothing. */
export function served(state: ServedState, event: ServedEvent): ServedStep {
  const { phase } = state;
  switch (event.type) {
    case 'worked':
      return phase === 'working' ? [{ phase: 'preparing' }, [{ type: 'prepare' }]] : [state, []];
    case 'ready':
      return phase === 'preparing' ? [{ phase: 'voting' }, [{ type: 'vote-yes' }]] : [state, []];
    case 'failed':
      if (!isFree(state)) return [state, []];
      return [{ phase: 'refusing', reason: event.reason }, [{ type: 'abort' }]];
    case 'dropped':
      return isFree(state) ? aborting() : [state, []];
    case 'vote-answered':
      return voteAnswered(state, event.answer);
    case 'decided':
      return phase === 'prepared' ? applying(event.outcome) : [state, []];
    case 'applied':
      return applied(state, event.answer);
  }
}

/** Before the yes was sent. */
function isFree({ phase }: ServedState): boolean {
  return phase === 'working' || phase === 'preparing';
}

function aborting(): ServedStep {
  return applying('aborted');
}

function applying(outcome: 'committed' | 'aborted'): ServedStep {
  const type = outcome === 'committed' ? 'commit' : 'abort';
  return [{ phase: 'applying', outcome }, [{ type }]];
}

function voteAnswered(state: ServedState, answer: 'recorded' | 'refused'): ServedStep {
  const { phase } = state;
  // Refused: its caller has ended it meanwhile.
  if (phase === 'refusing') {
    return [{ phase: 'over' }, answer === 'refused' ? [{ type: 'let-go' }] : []];
  }
  if (phase !== 'voting') return [state, []];
  return answer === 'recorded' ? [{ phase: 'prepared' }, [{ type: 'await' }]] : aborting();
}

function applied(state: ServedState, answer: 'done' | 'left'): ServedStep {
  const { phase, reason = '' } = state;
  // A no promises nothing, so that it may be told although a branch is left to the sweep.
  if (phase === 'refusing') return [state, [{ type: 'vote-no', reason }]];
  if (phase !== 'applying') return [state, []];
  return [{ ...state, phase: 'over' }, answer === 'done' ? [{ type: 'let-go' }] : []];
}
