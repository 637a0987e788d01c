import { type Clock, elapsedMs, type Instant, instantOf } from '../../core/clock.js';
import type { TransactionId } from '../../core/ids.js';
import type { KeyRequest, KeyReservation } from '../../transaction/decision-log.js';
import { KEY_RETAIN_MS } from '../../transaction/log-keys.js';

/** The keys of transactions in one in-process log. Each method is one atomic step. */
export interface MemoryKeys {
  find(namespace: string, key: string): KeyReservation | undefined;
  reserve(namespace: string, request: KeyRequest): KeyReservation;
  confirm(namespace: string, key: string, transactionId: TransactionId): void;
  release(namespace: string, key: string, transactionId: TransactionId): void;
}

interface Held {
  readonly transactionId: TransactionId;
  committedAt?: Instant;
}

/** No key yet. Confirmed ones go after their retention, the oldest first. */
export function memoryKeys(clock: Clock): MemoryKeys {
  const held = new Map<string, Held>();
  // No namespace holds a colon.
  const nameOf = (namespace: string, key: string): string => `${namespace}:${key}`;
  const isExpired = ({ committedAt }: Held): boolean =>
    committedAt !== undefined && elapsedMs(clock, committedAt) >= KEY_RETAIN_MS;
  const find = (name: string): Held | undefined => {
    const found = held.get(name);
    if (found === undefined || !isExpired(found)) return found;
    held.delete(name);
    return undefined;
  };
  const shown = ({ transactionId, committedAt }: Held): KeyReservation => ({
    transactionId,
    isCommitted: committedAt !== undefined,
  });
  return {
    find(namespace, key) {
      const found = find(nameOf(namespace, key));
      return found && shown(found);
    },
    reserve(namespace, { key, transactionId, replaces }) {
      const name = nameOf(namespace, key);
      const found = find(name);
      const isFree = found?.committedAt === undefined && found?.transactionId === replaces;
      if (found !== undefined && !isFree) return shown(found);
      const mine = { transactionId };
      held.set(name, mine);
      return shown(mine);
    },
    confirm(namespace, key, transactionId) {
      const name = nameOf(namespace, key);
      const found = find(name);
      if (found?.transactionId !== transactionId || found.committedAt !== undefined) return;
      // Put last, so that the first ones are the oldest.
      held.delete(name);
      held.set(name, { transactionId, committedAt: instantOf(clock) });
      for (const [oldest, each] of held) {
        if (!isExpired(each)) break;
        held.delete(oldest);
      }
    },
    release(namespace, key, transactionId) {
      const name = nameOf(namespace, key);
      const found = find(name);
      if (found?.transactionId === transactionId && found.committedAt === undefined) {
        held.delete(name);
      }
    },
  };
}
