import { setMaxListeners } from 'node:events';
import { abortScope, throwIfAborted } from '../../core/abort.js';
import { closedError } from '../../core/errors.js';
import { assertNumber, invalidArgument } from '../../core/validate.js';
import type {
  DecisionLog,
  DecisionLogNode,
  DecisionLogSession,
} from '../../transaction/decision-log.js';
import { byIncarnation } from '../../transaction/log-acknowledger.js';
import { incarnationFencedError } from '../../transaction/log-errors.js';
import type { Connection } from './connection.js';
import { ensembleGuarantees } from './guarantees.js';
import type { HeadState } from './log-format.js';
import { confirmKey, findKey, pruneKeys, releaseKey, reserveKey } from './log-keys.js';
import { keepLive } from './log-liveness.js';
import { type LogLimits, LogOwner } from './log-owner.js';
import {
  acknowledgeElsewhere,
  createHead,
  fenceIncarnation,
  findRecord,
  listIncarnations,
  openRecords,
  pruneIncarnations,
} from './log-recovery.js';
import { type LogStore, logStore, readHead } from './log-store.js';
import { zookeeperCallSession } from './remote-session.js';
import { connectionOf, type ZookeeperSession } from './session.js';

/** Options of {@link zookeeperTransactions}. */
export interface ZookeeperTransactionsOptions {
  /** From `zookeeper()`. It is not closed with the coordinator. */
  readonly session: ZookeeperSession;
  /**
   * Names this log inside transaction ids: 1 to 8 of `[A-Za-z0-9_-]`, stable for ever. Default `zk`.
   */
  readonly authority?: string | undefined;
  /** Refuses decisions with LOG_FULL past so many unacknowledged ones an incarnation. Default 10,000. */
  readonly unacknowledgedMax?: number | undefined;
  /**
   * Records stay so long after their last acknowledgement, in milliseconds, because a standby of a
   * participant can bring a committed branch back. Default 24 h; at most 128 overflow znodes of up
   * to 64 KiB an incarnation are kept, past which the oldest acknowledged records go early.
   */
  readonly recordRetainMs?: number | undefined;
}

/** Flushing acknowledgements may hold `close` for so long, in milliseconds. */
const CLOSE_MS = 2_000;

/**
 * A decision log on a ZooKeeper ensemble: presumed abort with incarnation fencing (U1).
 *
 * One persistent znode an incarnation, the head, holds its commit decisions: at most 64 KiB, older
 * ones move to overflow znodes first. A decision is a versioned write of the head, which is also the
 * check of the fence; decisions that come while one is written travel together in the next. A fence
 * is the recoverer's versioned write. An ephemeral child shows that the owner is there.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a malformed option.
 */
export function zookeeperTransactions(options: ZookeeperTransactionsOptions): DecisionLog {
  const connection = connectionOf(options?.session);
  const { authority = 'zk', unacknowledgedMax = 10_000, recordRetainMs = 86_400_000 } = options;
  if (typeof authority !== 'string' || !/^[\w-]{1,8}$/.test(authority)) {
    throw invalidArgument('authority', authority, '1 to 8 characters of [A-Za-z0-9_-]');
  }
  assertNumber('unacknowledgedMax', unacknowledgedMax, { min: 1, integer: true });
  assertNumber('recordRetainMs', recordRetainMs, { min: 0 });
  const limits = { unacknowledgedMax, recordRetainMs };
  return {
    backend: 'zookeeper',
    authority,
    open: (node) =>
      logSession(connection, logStore(connection, authority, node.namespace), node, limits),
    openCalls: (node) => zookeeperCallSession(connection, authority, node),
  };
}

function logSession(
  connection: Connection,
  store: LogStore,
  node: DecisionLogNode,
  limits: LogLimits,
): DecisionLogSession {
  const owners = new Map<string, LogOwner>();
  const closed = new AbortController();
  // Every incarnation listens; Node would print a warning from the eleventh on.
  setMaxListeners(0, closed.signal);
  const enter = (signal: AbortSignal | undefined): void => {
    throwIfAborted(signal);
    throwIfAborted(closed.signal);
  };
  return {
    async register(incarnation, { signal } = {}) {
      enter(signal);
      if (owners.has(incarnation)) return;
      const owner = await registered(store, node, incarnation, limits, signal);
      owners.set(incarnation, owner);
      await keepLive(store, incarnation, owner, closed.signal);
    },
    async decide(incarnation, record, { signal } = {}) {
      enter(signal);
      const owner = owners.get(incarnation);
      if (owner !== undefined && !owner.fenced.aborted) return owner.decide(record, signal);
      if (owner === undefined) await assertFenced(store, incarnation, signal);
      const found = await findRecord(store, record.transactionId, signal);
      return found === undefined ? 'fenced' : 'committed';
    },
    async acknowledge(acknowledgements, { signal } = {}) {
      enter(signal);
      for (const [incarnation, some] of byIncarnation(acknowledgements)) {
        const owner = owners.get(incarnation);
        if (owner !== undefined && !owner.fenced.aborted) owner.acknowledge(some);
        else await acknowledgeElsewhere(store, incarnation, some, signal);
      }
    },
    async fence(incarnation, { signal } = {}) {
      enter(signal);
      await fenceIncarnation(store, incarnation, signal);
      await owners.get(incarnation)?.look();
    },
    ...logReads(store, enter),
    async prune({ signal } = {}) {
      enter(signal);
      await pruneAll(store, owners, limits, signal);
      await pruneKeys(store, signal);
    },
    fencedSignal: (incarnation) => owners.get(incarnation)?.fenced ?? new AbortController().signal,
    async guarantees({ signal } = {}) {
      enter(signal);
      return ensembleGuarantees(connection, 'log', signal);
    },
    async close() {
      if (closed.signal.aborted) return;
      closed.abort(closedError('the transaction log'));
      await closeOwners(store, owners);
    },
  };
}

/** What every node may ask of the log, and the keys of transactions. */
function logReads(
  store: LogStore,
  enter: (signal: AbortSignal | undefined) => void,
): Pick<
  DecisionLogSession,
  | 'find'
  | 'incarnations'
  | 'unacknowledged'
  | 'findKey'
  | 'reserveKey'
  | 'confirmKey'
  | 'releaseKey'
> {
  return {
    async find(transactionId, { signal } = {}) {
      enter(signal);
      return findRecord(store, transactionId, signal);
    },
    async incarnations({ signal } = {}) {
      enter(signal);
      return listIncarnations(store, signal);
    },
    async unacknowledged(incarnation, limit, { signal } = {}) {
      enter(signal);
      return openRecords(store, incarnation, limit, signal);
    },
    async findKey(key, { signal } = {}) {
      enter(signal);
      return findKey(store, key, signal);
    },
    async reserveKey(request, { signal } = {}) {
      enter(signal);
      return reserveKey(store, request, signal);
    },
    async confirmKey(key, transactionId, { signal } = {}) {
      enter(signal);
      await confirmKey(store, key, transactionId, signal);
    },
    async releaseKey(key, transactionId, { signal } = {}) {
      enter(signal);
      await releaseKey(store, key, transactionId, signal);
    },
  };
}

/** Owners forget what is theirs with a write; the others' is forgotten for them. */
async function pruneAll(
  store: LogStore,
  owners: ReadonlyMap<string, LogOwner>,
  { recordRetainMs }: LogLimits,
  signal: AbortSignal | undefined,
): Promise<void> {
  const isOwn = (name: string): boolean => owners.get(name)?.fenced.aborted === false;
  await Promise.all(Array.from(owners.values(), (owner) => owner.flush()));
  await pruneIncarnations(store, recordRetainMs, isOwn, signal);
}

async function registered(
  store: LogStore,
  { nodeId, random }: DecisionLogNode,
  incarnation: string,
  limits: LogLimits,
  signal: AbortSignal | undefined,
): Promise<LogOwner> {
  const writeId = random.token(11);
  const head: HeadState = { nodeId, writeId, records: [], segments: [] };
  await createHead(store, incarnation, head, signal);
  const stored = await readHead(store, incarnation, signal);
  if (stored === undefined || stored.head.fencedAtMs !== undefined)
    throw incarnationFencedError(incarnation);
  if (stored.head.writeId !== writeId) {
    throw invalidArgument(
      'incarnation',
      incarnation,
      'a fresh one: this one is registered elsewhere',
    );
  }
  return new LogOwner(store, incarnation, limits, stored);
}

/** Whoever did not register an incarnation may not decide under it, unless it is over anyway. */
async function assertFenced(
  store: LogStore,
  incarnation: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const stored = await readHead(store, incarnation, signal);
  if (stored === undefined || stored.head.fencedAtMs !== undefined) return;
  throw invalidArgument('incarnation', incarnation, 'one that this log has registered');
}

async function closeOwners(store: LogStore, owners: ReadonlyMap<string, LogOwner>): Promise<void> {
  using scope = abortScope({ clock: store.connection.clock, timeoutMs: CLOSE_MS });
  const closing = [...owners].map(async ([incarnation, owner]) => {
    await owner.close(scope.signal);
    const live = await store.connection.current('leave', { signal: scope.signal });
    await live.ask.remove(`${store.pathOf(incarnation)}/live`);
  });
  await Promise.allSettled(closing);
}
