import { throwIfAborted } from '../../core/abort.js';
import { type Clock, systemClock } from '../../core/clock.js';
import type { Guarantees } from '../../core/guarantees.js';
import { assertNumber } from '../../core/validate.js';
import type {
  DecisionLog,
  DecisionLogNode,
  DecisionLogSession,
} from '../../transaction/decision-log.js';
import { memoryCalls } from './calls.js';
import { type CallSpace, callSpace } from './calls-store.js';
import { type DecisionStore, decisionStore } from './transactions-store.js';

/** Options of {@link memoryTransactions}. */
export interface MemoryTransactionsOptions {
  /** Refuses decisions with LOG_FULL past so many unacknowledged ones. Default 10,000. */
  readonly unacknowledgedMax?: number | undefined;
  /** Records stay so long after their last acknowledgement, in milliseconds. Default 60,000. */
  readonly recordRetainMs?: number | undefined;
  /** Source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
}

const GUARANTEES: Guarantees = {
  subject: 'memory log',
  survives: 'none',
  promises: ['transactions are atomic among the coordinators of this process'],
  warnings: [
    'decisions end with this process; use redisTransactions or zookeeperTransactions ' +
      'where a resource outlives it',
  ],
  settings: {},
};

/**
 * A decision log in this process: for tests, demonstrations and resources that live in memory too.
 *
 * Coordinators share decisions when they are given the same object; a coordinator that is closed is
 * 'silent' to the others, which then finish what it left. Nothing survives the process.
 */
export function memoryTransactions(options: MemoryTransactionsOptions = {}): DecisionLog {
  const { unacknowledgedMax = 10_000, recordRetainMs = 60_000, clock = systemClock } = options;
  assertNumber('unacknowledgedMax', unacknowledgedMax, { min: 1, integer: true });
  assertNumber('recordRetainMs', recordRetainMs, { min: 0 });
  const store = decisionStore({ unacknowledgedMax, recordRetainMs, clock });
  const spaces = new Map<string, CallSpace>();
  return {
    backend: 'memory',
    authority: 'memory',
    open: (node) => memorySession(store, node),
    openCalls(node) {
      const space = spaces.get(node.namespace) ?? callSpace(clock);
      spaces.set(node.namespace, space);
      return memoryCalls(space, node);
    },
  };
}

function memorySession(store: DecisionStore, node: DecisionLogNode): DecisionLogSession {
  const liveness = { isOpen: true };
  /** Every operation answers later and honours its signal, as one over a network does. */
  const step = async <T>(signal: AbortSignal | undefined, operation: () => T): Promise<T> => {
    throwIfAborted(signal);
    await Promise.resolve();
    return operation();
  };
  return {
    register: (incarnation, options) =>
      step(options?.signal, () => store.register(incarnation, node, liveness)),
    decide: (incarnation, record, options) =>
      step(options?.signal, () => store.decide(incarnation, record)),
    acknowledge: (acknowledgements, options) =>
      step(options?.signal, () => acknowledgements.forEach(store.acknowledge)),
    fence: (incarnation, options) =>
      step(options?.signal, () => store.fence(incarnation, node.namespace)),
    find: (transactionId, options) => step(options?.signal, () => store.find(transactionId)),
    incarnations: (options) => step(options?.signal, () => store.incarnations(node.namespace)),
    unacknowledged: (incarnation, limit, options) =>
      step(options?.signal, () => store.unacknowledged(incarnation, limit)),
    findKey: (key, options) => step(options?.signal, () => store.keys.find(node.namespace, key)),
    reserveKey: (request, options) =>
      step(options?.signal, () => store.keys.reserve(node.namespace, request)),
    confirmKey: (key, transactionId, options) =>
      step(options?.signal, () => store.keys.confirm(node.namespace, key, transactionId)),
    releaseKey: (key, transactionId, options) =>
      step(options?.signal, () => store.keys.release(node.namespace, key, transactionId)),
    prune: (options) => step(options?.signal, () => store.prune(node.namespace)),
    fencedSignal: (incarnation) => store.fencedSignal(incarnation),
    guarantees: (options) => step(options?.signal, () => GUARANTEES),
    async close() {
      liveness.isOpen = false;
    },
  };
}
