import type { CommitRecord } from './decision-log.js';

/**
 * How any node finishes one transaction that it found prepared: a pure machine like
 * {@link twoPhase}, and explored together with it.
 *
 * The order is the point. A missing record means abort only after the incarnation that could still
 * write it was fenced; without the fence a slow coordinator commits what a recoverer aborted.
 */
export interface RecoveryState {
  readonly step: 'start' | 'fencing' | 'finding' | 'committing' | 'aborting' | 'stopped';
  /** The branches to finish, by their ids. */
  readonly branchIds: readonly string[];
}

/** What happens to a recovery. */
export type RecoveryEvent =
  /** 'dead': of another, or an earlier life. 'own': of this live coordinator, and over for it. */
  | { readonly type: 'start'; readonly owner: 'dead' | 'own' }
  | { readonly type: 'fenced' }
  | { readonly type: 'found'; readonly record: CommitRecord | undefined }
  /** A step could not be done; the next sweep begins again. */
  | { readonly type: 'failed' };

/** What the sweep is to do. `acknowledge` follows each commit that succeeded. */
export type RecoveryEffect =
  | { readonly type: 'fence' }
  | { readonly type: 'find' }
  | { readonly type: 'commit'; readonly branchId: string; readonly evidence: string }
  | { readonly type: 'abort'; readonly branchId: string };

/** A recovery that has not begun. */
export function recoveryStart(branchIds: readonly string[]): RecoveryState {
  return { step: 'start', branchIds };
}

/** One step of the machine. */
export function recovery(
  state: RecoveryState,
  event: RecoveryEvent,
): readonly [RecoveryState, readonly RecoveryEffect[]] {
  switch (event.type) {
    case 'start':
      // A live coordinator knows that it sent no decision for what it aborted: no fence needed.
      return event.owner === 'own'
        ? [{ ...state, step: 'finding' }, [{ type: 'find' }]]
        : [{ ...state, step: 'fencing' }, [{ type: 'fence' }]];
    case 'fenced':
      return [{ ...state, step: 'finding' }, [{ type: 'find' }]];
    case 'found':
      return found(state, event.record);
    case 'failed':
      return [{ ...state, step: 'stopped' }, []];
  }
}

function found(
  state: RecoveryState,
  record: CommitRecord | undefined,
): readonly [RecoveryState, readonly RecoveryEffect[]] {
  if (record === undefined) {
    const effects = state.branchIds.map((branchId) => ({ type: 'abort' as const, branchId }));
    return [{ ...state, step: 'aborting' }, effects];
  }
  const decided = new Map(record.branches.map((each) => [each.branchId, each]));
  const effects = state.branchIds.map((branchId): RecoveryEffect => {
    const branch = decided.get(branchId);
    // A branch that the decision does not name did not take part in it.
    return branch === undefined
      ? { type: 'abort', branchId }
      : { type: 'commit', branchId, evidence: branch.evidence };
  });
  return [{ ...state, step: 'committing' }, effects];
}
