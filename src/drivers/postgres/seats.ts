import { CoordinationError } from '../../core/errors.js';
import { FewMap } from '../../core/few-map.js';
import type { PostgresPool } from './client.js';

/** Kept on the pool itself, so that all participants on it, of any copy of tricord, see one count. */
const SEATS = Symbol.for('tricord.postgres.seats');

type Seats = FewMap<string, number>;

/**
 * Takes one of a pool's connections for a branch of a transaction. A transaction that already has as
 * many as the pool may open would wait for itself until its time-out: PARTICIPANT_FULL at once. The
 * function gives the seat back.
 */
export function takeSeat(
  pool: PostgresPool,
  participant: string,
  transactionId: string,
): () => void {
  const seats = seatsOf(pool);
  const taken = seats.get(transactionId) ?? 0;
  const { max } = pool.options ?? {};
  if (typeof max === 'number' && taken >= max) throw tooSmall(participant, max, taken);
  seats.set(transactionId, taken + 1);
  let isTaken = true;
  return () => {
    if (!isTaken) return;
    isTaken = false;
    const left = (seats.get(transactionId) ?? 1) - 1;
    if (left > 0) seats.set(transactionId, left);
    else seats.delete(transactionId);
  };
}

function seatsOf(pool: PostgresPool & { [SEATS]?: Seats }): Seats {
  const known = pool[SEATS];
  if (known !== undefined) return known;
  const seats: Seats = new FewMap();
  // Not seen by whoever lists or copies the pool; a frozen one is simply not counted.
  Reflect.defineProperty(pool, SEATS, { value: seats });
  return seats;
}

function tooSmall(
  participant: string,
  slotsMax: number,
  taken: number,
): CoordinationError<'PARTICIPANT_FULL'> {
  return new CoordinationError(
    'PARTICIPANT_FULL',
    `postgres ${participant} shares a pool of max ${slotsMax} with ${taken} other branches of the ` +
      'same transaction, which would wait for itself; give every participant a pool of its own',
    { participant, slotsMax },
  );
}
