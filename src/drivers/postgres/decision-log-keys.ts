import type { TransactionId } from '../../core/ids.js';
import type {
  DecisionLogSession,
  KeyReservation,
  LogCallOptions,
} from '../../transaction/decision-log.js';
import { keyDigest } from '../../transaction/log-keys.js';
import type { StatementResult } from './client.js';
import { isExpiredKey, type LogMessage, literal } from './decision-log-statements.js';
import type { LogStore } from './decision-log-store.js';

/** The part of a session that is about keys of transactions. */
export type KeyMethods = Pick<
  DecisionLogSession,
  'findKey' | 'reserveKey' | 'confirmKey' | 'releaseKey'
>;

/** Keys of transactions in one namespace; `step` lets calls in while the session is open. */
export function logKeys(
  options: { readonly store: LogStore; readonly table: string; readonly namespace: string },
  step: <T>(options: LogCallOptions | undefined, work: () => Promise<T>) => Promise<T>,
): KeyMethods {
  const { store, table, namespace } = options;
  const space = literal(namespace);
  const at = (key: string): string =>
    `namespace = ${space} and key_digest = ${literal(keyDigest(key))}`;
  const select = (key: string): string =>
    `select transaction_id, committed_at is not null as is_committed from ${table} as held
    where ${at(key)} and not (${isExpiredKey('held')})`;
  const ask = (operation: string, statements: readonly string[], signal?: AbortSignal) =>
    store.ask({ operation, statements } satisfies LogMessage, signal);
  return {
    findKey: (key, call) =>
      step(call, async () => {
        const [found] = await ask('find a key', [select(key)], call?.signal);
        return reservationIn(found);
      }),
    reserveKey: ({ key, transactionId, replaces }, call) =>
      step(call, async () => {
        const isLeft =
          replaces === undefined
            ? 'false'
            : `held.committed_at is null and held.transaction_id = ${literal(replaces)}`;
        const reserve = `insert into ${table} as held (namespace, key_digest, transaction_id, reserved_at)
          values (${space}, ${literal(keyDigest(key))}, ${literal(transactionId)}, clock_timestamp())
          on conflict (namespace, key_digest) do update set transaction_id = excluded.transaction_id,
            reserved_at = clock_timestamp(), committed_at = null
          where (${isLeft}) or ${isExpiredKey('held')}`;
        const results = await ask('reserve a key', [reserve, select(key)], call?.signal);
        const reservation = reservationIn(results.at(-1));
        if (reservation === undefined) throw new Error('the reply lacks who holds the key');
        return reservation;
      }),
    confirmKey: (key, transactionId, call) =>
      step(call, async () => {
        const confirm = `update ${table} set committed_at = clock_timestamp()
          where ${at(key)} and transaction_id = ${literal(transactionId)} and committed_at is null`;
        await ask('confirm a key', [confirm], call?.signal);
      }),
    releaseKey: (key, transactionId, call) =>
      step(call, async () => {
        const release = `delete from ${table}
          where ${at(key)} and transaction_id = ${literal(transactionId)} and committed_at is null`;
        await ask('release a key', [release], call?.signal);
      }),
  };
}

function reservationIn(result: StatementResult | undefined): KeyReservation | undefined {
  const row = result?.rows[0];
  if (row === undefined) return undefined;
  const transactionId = row.transaction_id as TransactionId;
  return { transactionId, isCommitted: row.is_committed === true };
}
