import { CoordinationError } from '../../core/errors.js';
import { FewSet } from '../../core/few-map.js';

/**
 * How many branches may be open at once, so that PREPARE does not fail for want of a slot: the
 * server's max_prepared_transactions, less what others hold prepared, as it was last seen.
 */
export interface SlotBudget {
  /** Takes a slot for a branch; undefined when there is none. The function gives it back. */
  take(branchId: string): (() => void) | undefined;
  /** Notes the server's max_prepared_transactions. */
  limit(slotsMax: number): void;
  /** Notes which branches the server holds prepared, of every database and service. */
  observe(preparedIds: readonly string[]): void;
  /** The error for a branch that got no slot. */
  full(cause?: unknown): CoordinationError<'PARTICIPANT_FULL'>;
}

/** The budget of one participant of this process. */
export function slotBudget(participant: string, backend: string): SlotBudget {
  const own = new FewSet<string>();
  let slotsMax = 0;
  let heldByOthers = 0;
  return {
    take(branchId) {
      if (own.size + heldByOthers >= slotsMax) return undefined;
      own.add(branchId);
      return () => own.delete(branchId);
    },
    limit(max) {
      slotsMax = max;
    },
    observe(preparedIds) {
      heldByOthers = preparedIds.filter((id) => !own.has(id)).length;
    },
    full: (cause) =>
      new CoordinationError(
        'PARTICIPANT_FULL',
        `${backend} has no slot for another prepared branch: ${own.size} are open here and ` +
          `${heldByOthers} are held elsewhere, of max_prepared_transactions = ${slotsMax}; let ` +
          'recovery finish what is left, run fewer at once, or raise the setting',
        { participant, slotsMax },
        { cause },
      ),
  };
}
