import { CoordinationError } from '../core/errors.js';
import { parseTransactionId, type TransactionId } from '../core/ids.js';
import type { DecisionLogSession, KeyReservation } from './decision-log.js';

/** Makes one bounded call to the log. */
export type BoundedCall = <T>(call: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/** How many holders of a key are looked at until it counts as contended. */
const HOLDERS_MAX = 5;

/** What became of the transaction that holds a key, as far as the log can tell. */
export async function holderState(
  session: DecisionLogSession,
  { transactionId, isCommitted }: KeyReservation,
  call: BoundedCall,
): Promise<'committed' | 'open' | 'left'> {
  if (isCommitted) return 'committed';
  const record = await call((signal) => session.find(transactionId, { signal }));
  if (record !== undefined) return 'committed';
  const incarnation = parseTransactionId(transactionId)?.incarnation;
  const statuses = await call((signal) => session.incarnations({ signal }));
  const status = statuses.find((each) => each.incarnation === incarnation);
  return status?.state === 'live' ? 'open' : 'left';
}

/**
 * Reserves a key for a transaction that is about to be decided. A holder that died is fenced first;
 * only then its missing record proves that it never commits, and its key can be taken over.
 *
 * Throws TRANSACTION_KEY_BUSY when another transaction has the key: nothing was decided.
 */
export async function takeKey(
  session: DecisionLogSession,
  { key, transactionId }: { readonly key: string; readonly transactionId: TransactionId },
  call: BoundedCall,
): Promise<void> {
  let replaces: TransactionId | undefined;
  for (let tries = 0; tries < HOLDERS_MAX; tries += 1) {
    const request = { key, transactionId, replaces };
    const holder = await call((signal) => session.reserveKey(request, { signal }));
    if (holder.transactionId === transactionId) return;
    if (!(await isAbandoned(session, holder, call))) throw keyBusyError(key, holder.transactionId);
    replaces = holder.transactionId;
  }
  throw keyBusyError(key, replaces);
}

/** Whether the holder never commits; makes sure of it where its process has gone. */
async function isAbandoned(
  session: DecisionLogSession,
  holder: KeyReservation,
  call: BoundedCall,
): Promise<boolean> {
  if ((await holderState(session, holder, call)) !== 'left') return false;
  const { transactionId } = holder;
  const incarnation = parseTransactionId(transactionId)?.incarnation;
  if (incarnation === undefined) return false;
  await call((signal) => session.fence(incarnation, { signal }));
  // A record may have come in between, and even have been finished: then the key is confirmed.
  const record = await call((signal) => session.find(transactionId, { signal }));
  return record === undefined;
}

/** The error of a transaction whose key another one has. */
export function keyBusyError(
  key: string,
  holder: TransactionId | undefined,
): CoordinationError<'TRANSACTION_KEY_BUSY'> {
  return new CoordinationError(
    'TRANSACTION_KEY_BUSY',
    `another transaction with the key ${JSON.stringify(key)} is under way or was decided meanwhile` +
      `${holder === undefined ? '' : ` (${holder})`}; nothing of this one took effect: ask again ` +
      'with the same key to hear the first outcome',
    { key, transactionId: holder },
  );
}
