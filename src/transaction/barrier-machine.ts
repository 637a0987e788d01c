/** What a barrier knows of a branch; nothing is `undefined`. Committed and aborted are final. */
export type BarrierState = 'prepared' | 'committed' | 'aborted';

/** What a branch is asked for. `commit-one-phase` is prepare and commit in one local transaction. */
export type BarrierEvent = 'prepare' | 'commit' | 'abort' | 'commit-one-phase';

/** Which of the user's functions is due. */
export type BarrierEffect = 'prepare' | 'commit' | 'abort';

/** What a local transaction at the barrier does. */
export interface BarrierMove {
  /** The state afterwards. */
  readonly to: BarrierState | undefined;
  /** The effects that the same local transaction performs, in this order. */
  readonly effects: readonly BarrierEffect[];
  /** What the caller is told. */
  readonly answer: 'done' | 'refused' | 'unknown';
}

/**
 * The rules of a barrier, as a pure machine. With the state and the effects in one local transaction
 * every effect happens at most once, and:
 *
 * - an abort that comes first leaves a mark ("null compensation"), and performs nothing;
 * - a prepare that comes after it is refused ("hanging" request), so nothing is left prepared;
 * - a commit or abort that comes again is done already, and performs nothing.
 *
 * Source: the sub-transaction barrier of DTM (Ye Dongfu, 2021), after the empty rollback, idempotence
 * and suspension rules of TCC in Ant Financial's practice.
 */
export function barrierMove(state: BarrierState | undefined, event: BarrierEvent): BarrierMove {
  switch (state) {
    case undefined:
      return fromNothing(event);
    case 'prepared':
      return fromPrepared(event);
    case 'committed':
      return stay(state, event === 'commit' || event === 'commit-one-phase' ? 'done' : 'refused');
    case 'aborted':
      return stay(state, event === 'abort' ? 'done' : 'refused');
  }
}

function fromNothing(event: BarrierEvent): BarrierMove {
  switch (event) {
    case 'prepare':
      return { to: 'prepared', effects: ['prepare'], answer: 'done' };
    case 'commit-one-phase':
      return { to: 'committed', effects: ['prepare', 'commit'], answer: 'done' };
    case 'abort':
      return { to: 'aborted', effects: [], answer: 'done' };
    case 'commit':
      // Nobody decides to commit what was never prepared: its evidence is gone. Never a guess.
      return { to: undefined, effects: [], answer: 'unknown' };
  }
}

function fromPrepared(event: BarrierEvent): BarrierMove {
  switch (event) {
    case 'prepare':
      return stay('prepared', 'done');
    case 'commit':
    case 'commit-one-phase':
      return { to: 'committed', effects: ['commit'], answer: 'done' };
    case 'abort':
      return { to: 'aborted', effects: ['abort'], answer: 'done' };
  }
}

function stay(state: BarrierState, answer: BarrierMove['answer']): BarrierMove {
  return { to: state, effects: [], answer };
}
