import { parseTransactionId } from '../../core/ids.js';
import { assertOptions, invalidArgument } from '../../core/validate.js';
import type {
  DecisionLog,
  DecisionLogNode,
  DecisionLogSession,
  IncarnationStatus,
  LogCallOptions,
} from '../../transaction/decision-log.js';
import {
  type HeartbeatLogSettings,
  heartbeatLogSession,
  heartbeatLogSettings,
  LOG_STEP_TIMEOUT_MS,
  type LogStep,
} from '../../transaction/log-session.js';
import { REPLY_TIMEOUT_MS_DEFAULT, redisCalls } from './calls.js';
import { assertClient, type RedisClient } from './client.js';
import { decisionSteps } from './decision-log-decider.js';
import { logKeys } from './decision-log-keys.js';
import { decodeRecord } from './decision-log-record.js';
import {
  FENCE,
  FIND,
  FORGET,
  INDEX_ADD,
  INDEX_DROP,
  INDEX_DUE,
  INDEX_LIST,
  INDEX_RETIRE,
  OPEN_RECORDS,
  PRUNE,
  REGISTER,
  STATUS,
} from './decision-log-scripts.js';
import { type LogStore, logStore } from './decision-log-store.js';
import { readRedisGuarantees } from './guarantees.js';
import { NAMESPACE_DEFAULT } from './keys.js';
import { redisCallSession } from './remote-session.js';

/** Options of {@link redisTransactions}. */
export interface RedisTransactionsOptions {
  /** The service's own ioredis client (`Redis` or `Cluster`, 5 or 6). It is never closed. */
  readonly client: RedisClient;
  /** Keeps logs of several deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * Names this log inside transaction ids, so that a branch found in a database leads here: 1 to 8 of
   * `[A-Za-z0-9_-]`. Stable for ever. Default `redis`.
   */
  readonly authority?: string | undefined;
  /** Decisions that participants have not acknowledged; from here on LOG_FULL. Default 10,000. */
  readonly unacknowledgedMax?: number | undefined;
  /**
   * For how long a record stays after its last acknowledgement, in milliseconds: a fail-over of a
   * *participant* can bring back a branch that was committed. Default 86,400,000 (24 hours).
   */
  readonly recordRetainMs?: number | undefined;
  /** A node counts as silent, and may be fenced, after so many milliseconds without a sign. Default 10,000. */
  readonly livenessTimeoutMs?: number | undefined;
  /** How long one reply is awaited, in milliseconds, before the step is sent again. Default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
}

/** So much is looked at in one call of prune. */
const PRUNE_INCARNATIONS_MAX = 100;
const PRUNE_RECORDS_MAX = 1_000;
/** Below the ten listeners at which Node takes a signal for leaking. */
const CONCURRENCY = 6;
const GUARANTEES_OF = {
  subject: 'redis transactions',
  user: 'the decision log',
  kept: 'decisions',
} as const;

/**
 * The decision log on Redis (6.2 or newer): one atomic script a decision, all decisions of one tick
 * in one command, on keys without a TTL.
 *
 * A decision is as durable as the Redis is: with `appendonly yes` and `appendfsync always` it
 * survives a loss of power; with `everysec` a crash of the process; without, nothing. A fail-over to
 * an asynchronous replica may lose decisions whatever the settings, and end a transaction mixed,
 * which evidence then shows. `maxmemory-policy` must be `noeviction`; `guarantees()` refuses others.
 *
 * Every script may run twice. A lost reply is sent again until the truth is known or the time is up
 * (RESULT_UNKNOWN). Times are the server's. A cluster keeps each incarnation in one slot.
 *
 * The protocol is presumed abort (Mohan, Lindsay and Obermarck, "Transaction Management in the R*
 * Distributed Database Management System", 1986) with incarnation fencing in place of a local log.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed client, name or number.
 */
export function redisTransactions(options: RedisTransactionsOptions): DecisionLog {
  assertOptions(options, '{ client }');
  const { client, namespace: prefix = NAMESPACE_DEFAULT } = options;
  assertClient(client);
  const defaults = { authority: 'redis', replyTimeoutMs: REPLY_TIMEOUT_MS_DEFAULT };
  const settings = { client, prefix, ...heartbeatLogSettings(options, defaults) };
  const { authority } = settings;
  return {
    backend: 'redis',
    authority,
    open: (node) => openSession(settings, node),
    openCalls: (node) => redisCallSession(settings, node),
  };
}

interface LogSettings extends HeartbeatLogSettings {
  readonly client: RedisClient;
  readonly prefix: string;
}

function openSession(settings: LogSettings, node: DecisionLogNode): DecisionLogSession {
  const { client, prefix, unacknowledgedMax, recordRetainMs } = settings;
  const { clock } = node;
  const calls = redisCalls({ client, clock, timeoutMs: settings.replyTimeoutMs });
  const store = logStore({ calls, node, prefix, timeoutMs: LOG_STEP_TIMEOUT_MS });
  const { step, session } = heartbeatLogSession({
    node,
    settings,
    steps: decisionSteps({ calls, store, unacknowledgedMax, recordRetainMs }),
    async register(incarnation, signal) {
      // The index first: an incarnation that could decide without being found would never be fenced.
      await store.askIndex(INDEX_ADD, [incarnation], signal);
      const { status } = await store.ask(REGISTER, incarnation, [node.nodeId], signal);
      return status === 'fenced' ? 'fenced' : 'live';
    },
    dispose: () => calls.dispose(),
  });
  return {
    ...session,
    fence: (incarnation, options) =>
      step(options, async () => {
        await store.askIndex(INDEX_ADD, [incarnation], options?.signal);
        await store.ask(FENCE, incarnation, [], options?.signal);
      }),
    ...logReads(settings, node, store, step),
    ...logKeys(store, step),
    guarantees: (options) =>
      step(options, () => readRedisGuarantees(calls, GUARANTEES_OF, options)),
  };
}

/** What every node may ask of the log, and its housekeeping. */
function logReads(
  { livenessTimeoutMs, recordRetainMs }: LogSettings,
  node: DecisionLogNode,
  store: LogStore,
  step: LogStep,
): Pick<DecisionLogSession, 'find' | 'incarnations' | 'unacknowledged' | 'prune'> {
  const readStatus = statusReader(store, livenessTimeoutMs);
  return {
    find: (transactionId, options) =>
      step(options, async () => {
        const incarnation = parseTransactionId(transactionId)?.incarnation;
        if (incarnation === undefined) {
          throw invalidArgument('transactionId', transactionId, 'an id made by transactionId()');
        }
        const reply = await store.ask(FIND, incarnation, [transactionId], options?.signal);
        const [nowMs, stored] = reply.values;
        if (reply.status === 'none' || stored === undefined) return undefined;
        return decodeRecord(transactionId, stored, Number(nowMs));
      }),
    incarnations: (options) =>
      step(options, async () => {
        const { values: names } = await store.askIndex(INDEX_LIST, [], options?.signal);
        const found = await inBatches(names, (name) => readStatus(name, options?.signal));
        return found.filter((each) => each !== undefined);
      }),
    unacknowledged: (incarnation, limit, options) =>
      step(options, async () => {
        const { values } = await store.ask(OPEN_RECORDS, incarnation, [limit], options?.signal);
        const [nowMs, ...rest] = values;
        const ids = rest.filter((_, index) => index % 2 === 0);
        return ids.map((id, index) => decodeRecord(id, rest[2 * index + 1] ?? '', Number(nowMs)));
      }),
    prune: (options) => step(options, () => prune(store, node, recordRetainMs, options)),
  };
}

function statusReader(
  store: LogStore,
  livenessTimeoutMs: number,
): (name: string, signal: AbortSignal | undefined) => Promise<IncarnationStatus | undefined> {
  return async (incarnation, signal) => {
    const { status, values } = await store.ask(STATUS, incarnation, [], signal);
    // In the index alone: its process is between the two steps of registering, or died there.
    if (status === 'none') return undefined;
    const [nowMs, nodeId = '', heardMs, fencedMs, openCount] = values;
    const isLive = Number(nowMs) - Number(heardMs) < livenessTimeoutMs;
    const state = fencedMs !== '' ? 'fenced' : isLive ? 'live' : 'silent';
    return { incarnation, nodeId, state, unacknowledgedCount: Number(openCount) };
  };
}

async function prune(
  store: LogStore,
  { random }: DecisionLogNode,
  recordRetainMs: number,
  options: LogCallOptions | undefined,
): Promise<void> {
  const signal = options?.signal;
  const { values: active } = await store.askIndex(INDEX_LIST, [], signal);
  // A random stretch, so that with many incarnations every one has its turn.
  const from = Math.floor(random.fraction() * Math.max(1, active.length - PRUNE_INCARNATIONS_MAX));
  const idle = await namesOf(active.slice(from, from + PRUNE_INCARNATIONS_MAX), 'idle', (name) =>
    store.ask(PRUNE, name, [recordRetainMs, PRUNE_RECORDS_MAX], signal),
  );
  if (idle.length > 0) await store.askIndex(INDEX_RETIRE, idle, signal);
  const most = [recordRetainMs, PRUNE_INCARNATIONS_MAX];
  const { values: due } = await store.askIndex(INDEX_DUE, most, signal);
  const gone = await namesOf(due, 'gone', (name) => store.ask(FORGET, name, [], signal));
  if (gone.length > 0) await store.askIndex(INDEX_DROP, gone, signal);
}

/** Asks about many incarnations, a few at a time, so that neither Redis nor the signal is flooded. */
async function inBatches<T>(
  names: readonly string[],
  ask: (name: string) => Promise<T>,
): Promise<readonly T[]> {
  const answers: T[] = [];
  for (let from = 0; from < names.length; from += CONCURRENCY) {
    const batch = names.slice(from, from + CONCURRENCY);
    answers.push(...(await Promise.all(batch.map(ask))));
  }
  return answers;
}

async function namesOf(
  names: readonly string[],
  wanted: string,
  ask: (name: string) => Promise<{ readonly values: readonly string[] }>,
): Promise<readonly string[]> {
  const replies = await inBatches(names, ask);
  return names.filter((_, index) => replies[index]?.values[0] === wanted);
}
