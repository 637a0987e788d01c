import { type AbortSource, abortScope } from '../../core/abort.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import { isCoordinationError } from '../../core/errors.js';
import type { BranchContext } from '../../transaction/participant.js';
import type { PostgresPool } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { unavailable } from './errors.js';
import { listPrepared, literalOf } from './prepared.js';
import { takeSeat } from './seats.js';
import { assertCanPrepare, readSettings, type ServerSettings } from './settings.js';
import type { SlotBudget } from './slots.js';

/** A connection for a new branch, and how to give its slot back. */
export interface Enlisted {
  readonly connection: Connection;
  /** What begins the transaction on it, before anything else is sent. */
  opening(): readonly string[];
  giveBack(): void;
}

interface EnlistmentOptions {
  readonly name: string;
  readonly pool: PostgresPool;
  readonly clock: Clock;
  readonly waitersMax: number;
  readonly backend: string;
  readonly slots: SlotBudget;
}

/** PostgreSQL's limit for a time-out. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** Starts branches of one participant. */
export function enlistment(
  options: EnlistmentOptions,
): (context: BranchContext, source: AbortSource) => Promise<Enlisted> {
  const { name, pool, clock, waitersMax, backend, slots } = options;
  let settings: ServerSettings | undefined;
  let waiters = 0;

  const refreshSlots = async (connection: Connection, signal: AbortSource): Promise<void> => {
    const rows = await listPrepared((text) => connection.run(text, signal));
    slots.observe(rows.map(({ branchId }) => branchId));
  };
  const inspect = async (connection: Connection, signal: AbortSource): Promise<ServerSettings> => {
    const found = await readSettings((text) => connection.run(text, signal));
    assertCanPrepare(backend, found);
    slots.limit(found.slotsMax);
    await refreshSlots(connection, signal);
    return found;
  };
  const waitForSlot = async (
    connection: Connection,
    { branchId }: BranchContext,
    signal: AbortSource,
  ): Promise<() => void> => {
    await refreshSlots(connection, signal);
    const freed = slots.take(branchId);
    if (freed === undefined) throw slots.full();
    return freed;
  };
  return async (context, source) => {
    literalOf(context.branchId);
    const { timeoutMs } = context;
    const leaveSeat = takeSeat(pool, name, context.transactionId);
    using scope = abortScope({ clock, parents: [source], timeoutMs });
    let connection: Connection;
    try {
      if (waiters >= waitersMax) throw slots.full('too many branches wait for a connection');
      waiters += 1;
      try {
        connection = await checkOut(pool, scope);
      } finally {
        waiters -= 1;
      }
    } catch (error) {
      leaveSeat();
      if (source.aborted) throw source.reason;
      throw isCoordinationError(error) ? error : unavailable(backend, 'enlist', error);
    }
    try {
      settings ??= await inspect(connection, scope);
      const found = settings;
      const since = instantOf(clock);
      const giveSlotBack =
        slots.take(context.branchId) ?? (await waitForSlot(connection, context, scope));
      return {
        connection,
        opening: () => openingOf(found, timeoutMs - elapsedMs(clock, since)),
        giveBack() {
          giveSlotBack();
          leaveSeat();
        },
      };
    } catch (error) {
      leaveSeat();
      // A refusal of our own comes between statements. The reason of an abort may be one of ours,
      // too, but comes in the middle of one.
      if (isCoordinationError(error) && !scope.aborted) {
        connection.release();
        throw error;
      }
      connection.destroy();
      if (source.aborted) throw source.reason;
      throw unavailable(backend, 'enlist', error);
    }
  };
}

/**
 * A killed client's backend would wait on in a row lock for ever, and so would two transactions that
 * wait for each other on two servers: no statement, lock or pause outlives the transaction's time.
 * The body may still choose the isolation level, because no snapshot is taken here.
 */
function openingOf(settings: ServerSettings, remainingMs: number): readonly string[] {
  const leftMs = Math.max(1, Math.min(Math.ceil(remainingMs), TIMEOUT_MS_MAX));
  const bounded = (ownMs: number): number => (ownMs > 0 ? Math.min(ownMs, leftMs) : leftMs);
  return [
    'begin',
    `set local statement_timeout = ${bounded(settings.statementTimeoutMs)}`,
    `set local lock_timeout = ${bounded(settings.lockTimeoutMs)}`,
    `set local idle_in_transaction_session_timeout = ${bounded(settings.idleTimeoutMs)}`,
  ];
}
