import { throwIfAborted } from '../../core/abort.js';
import { type Clock, systemClock } from '../../core/clock.js';
import type { Guarantees } from '../../core/guarantees.js';
import { assertParticipantName } from '../../core/participant-name.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import type { Branch, Participant } from '../../transaction/participant.js';
import { type MemoryBranch, memoryWork } from './participant-branch.js';
import { type KeyValueStore, keyValueStore } from './participant-store.js';

/** Options of {@link memoryParticipant}. */
export interface MemoryParticipantOptions {
  /** Unique and stable for ever: it stands in commit records. 1 to 64 of `[A-Za-z0-9_.-]`. */
  readonly name: string;
  /** Refuses further branches with PARTICIPANT_FULL at so many prepared ones. Default 10,000. */
  readonly preparedMax?: number | undefined;
  /** Source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
}

/** A transactional key-value store in this process. Made by {@link memoryParticipant}. */
export interface MemoryParticipant extends Participant<MemoryBranch> {
  /** The committed value of a key, outside any transaction. */
  read<Value = unknown>(key: string): Value | undefined;
  /** Every committed key that begins with `prefix`, with its value, in the order of insertion. */
  entries<Value = unknown>(prefix?: string): readonly (readonly [key: string, value: Value])[];
  /** Sets values at once and outside any transaction: for what is there before the first one. */
  load(values: Readonly<Record<string, unknown>>): void;
}

/**
 * A small transactional key-value store in this process that takes part in transactions.
 *
 * Reads see what is committed, and what the branch itself wrote. Prepare validates: if anything
 * that the branch read or wrote was changed meanwhile, or is held by another prepared branch, it
 * votes no. Transactions are serializable and never wait for each other. Increments are the
 * exception that keeps a hot counter concurrent: they commute, and prepared ones count against the
 * bounds (escrow, O'Neil 1986).
 *
 * Prepared branches outlive the coordinator that prepared them; nothing outlives the process.
 */
export function memoryParticipant(options: MemoryParticipantOptions): MemoryParticipant {
  assertOptions(options, '{ name }');
  const { name, preparedMax = 10_000, clock = systemClock } = options;
  assertParticipantName(name);
  assertNumber('preparedMax', preparedMax, { min: 1, integer: true });
  const store = keyValueStore({ name, preparedMax, clock });
  /** Every operation answers later and honours its signal, as one over a network does. */
  const step = async <T>(signal: AbortSignal | undefined, operation: () => T): Promise<T> => {
    throwIfAborted(signal);
    await Promise.resolve();
    return operation();
  };
  return {
    name,
    backend: 'memory',
    enlist: ({ branchId, signal }) => step(signal, () => memoryBranch(store, name, branchId)),
    commit: ({ branchId }, call) => step(call?.signal, () => store.commit(branchId)),
    abort: ({ branchId }, call) => step(call?.signal, () => store.abort(branchId)),
    recover: (call) => step(call?.signal, () => store.prepared()),
    outcome: ({ branchId }, call) => step(call?.signal, () => store.outcome(branchId)),
    guarantees: (call) => step(call?.signal, () => guaranteesOf(name)),
    async close() {},
    read: (key) => store.read(key),
    entries: (prefix = '') => store.entries(prefix),
    load: (values) => store.load(values),
  };
}

function memoryBranch(store: KeyValueStore, name: string, branchId: string): Branch<MemoryBranch> {
  store.assertRoom();
  const work = memoryWork(store, name);
  return {
    handle: work.handle,
    async prepare() {
      work.end();
      return store.prepare(branchId, work);
    },
    async commit() {
      work.end();
      store.commit(branchId);
    },
    async abort() {
      work.end();
      store.abort(branchId);
    },
    async commitOnePhase() {
      work.end();
      const vote = store.prepare(branchId, work);
      if (vote.vote === 'yes') store.commit(branchId);
      return vote.vote === 'no' ? { ...vote, state: 'aborted' } : { state: 'committed' };
    },
  };
}

function guaranteesOf(name: string): Guarantees {
  return {
    subject: `memory ${name}`,
    survives: 'none',
    promises: ['branches are serializable, and outlive the coordinator that prepared them'],
    warnings: ['everything in it ends with this process'],
    settings: {},
  };
}
