/**
 * The tasks of one node that want one resource, and the node's grants of it: a state machine without
 * I/O and without a clock. The node contends, not the task: one request is under way for whoever is
 * first, and a grant is handed from task to task, a writer's each with a fencing token of its own.
 * Readers share one grant. Permits that are counted have a grant each, and a few requests at a time.
 *
 * {@link transition} changes the state in place, because a line may be thousands long, and answers
 * what is to be done. It is deterministic, so a test can explore every order of events.
 */

import { FewMap, FewSet } from '../core/few-map.js';
import {
  hasToken,
  isSameKind,
  mayLinger,
  mayServe,
  mustYield,
  type NodeGrant,
  noteOthers,
  type QueuedTask,
  type QueueLimits,
  refillFor,
  suits,
  takeToken,
  tokensFor,
} from './node-grants.js';
import type { QueueEffect, QueueEvent } from './queue-events.js';

/** Who waits here, what was asked for, and what is held. */
export interface NodeQueue {
  /** First come, first served. */
  readonly waiting: FewMap<number, QueuedTask>;
  /** The requests under way, with the task that each was made for. Answers to others are stale. */
  readonly requests: FewMap<number, QueuedTask>;
  /** By the request that won it. */
  readonly grants: FewMap<number, NodeGrant>;
  /** How many requests there have been; the next one's id. */
  requestCount: number;
}

/** So many requests for permits are under way at a time. */
const COUNTING_REQUESTS_MAX = 8;

/** A queue that nobody is in. */
export function emptyQueue(): NodeQueue {
  return { waiting: new FewMap(), requests: new FewMap(), grants: new FewMap(), requestCount: 0 };
}

/** Whether there is nothing to remember. */
export function isIdle({ waiting, requests, grants }: NodeQueue): boolean {
  return waiting.size === 0 && requests.size === 0 && grants.size === 0;
}

/** Applies one event that happened at `nowMs`. */
export function transition(
  queue: NodeQueue,
  event: QueueEvent,
  nowMs: number,
  limits: QueueLimits,
): QueueEffect[] {
  const effects = apply(queue, event, nowMs);
  if (queue.grants.size > 0) serve(queue, nowMs, limits, effects);
  contend(queue, effects);
  return effects;
}

/**
 * Gives a writer that comes now the grant that is kept for who comes next, if that is all there is to
 * do: as {@link transition} does for `joined`, at a part of its price. Answers its token; undefined, and
 * nothing changed, where there is more to do.
 */
export function takeKept(queue: NodeQueue, task: QueuedTask): bigint | undefined {
  const grant = keptGrant(queue);
  if (grant === undefined || !suits(grant, task) || !hasToken(grant)) return undefined;
  if (task.mode !== 'exclusive' || refillFor(grant, 0, task.retainMs) !== undefined) {
    return undefined;
  }
  return begin(grant, task);
}

/** The grant that nobody holds, while nobody waits for it here or elsewhere. */
export function keptGrant({ waiting, requests, grants }: NodeQueue): NodeGrant | undefined {
  if (grants.size !== 1 || waiting.size > 0 || requests.size > 0) return undefined;
  const grant = grants.first;
  return grant?.isRetained === true && grant.othersCount === 0 ? grant : undefined;
}

/**
 * Keeps the grant of a writer that ends now, if that is all there is to do: as {@link transition} does for
 * `finished`. Answers the grant, which is retained or goes on lingering; undefined, and nothing changed,
 * where there is more to do.
 */
export function finishKept(queue: NodeQueue, id: number, task: number): NodeGrant | undefined {
  const { waiting, requests, grants } = queue;
  if (grants.size !== 1 || waiting.size > 0 || requests.size > 0) return undefined;
  const grant = grants.get(id);
  if (grant?.mode !== 'exclusive' || !grant.holders.has(task) || grant.holders.size > 1) {
    return undefined;
  }
  if (!isKept(grant, undefined, false) || refillFor(grant, 0) !== undefined) return undefined;
  // A turn that is not waited for yet is more to do.
  if (grant.retainMs === 0 && grant.lingersSince === undefined) return undefined;
  grant.holders.delete(task);
  grant.isRetained = true;
  return grant;
}

function apply(queue: NodeQueue, event: QueueEvent, nowMs: number): QueueEffect[] {
  switch (event.type) {
    case 'joined':
      return join(queue, event.task);
    case 'rejoined':
      return rejoin(queue, event.task);
    case 'left':
      queue.waiting.delete(event.task);
      return [];
    case 'granted':
      return granted(queue, event, nowMs);
    case 'busy':
      return refused(queue, event.request);
    case 'failed':
      return failed(queue, event);
    case 'missed':
      answered(queue, event.request);
      return [];
    case 'lost':
      queue.grants.delete(event.grant);
      return [];
    default: {
      const grant = queue.grants.get(event.grant);
      if (grant !== undefined) change(queue, grant, event, nowMs);
      return [];
    }
  }
}

/** Something happened to a grant that stands. */
function change(
  queue: NodeQueue,
  grant: NodeGrant,
  event: Extract<QueueEvent, { readonly grant: number }>,
  nowMs: number,
): void {
  switch (event.type) {
    case 'finished':
      grant.holders.delete(event.task);
      return;
    case 'reserved':
      grant.reservation = event.tokens === undefined ? 'failed' : 'none';
      if (event.tokens === undefined || grant.mode !== 'exclusive') return;
      grant.tokens.push({ ...event.tokens });
      grant.blockSize = event.tokens.count;
      return;
    case 'downgraded':
      grant.mode = 'shared';
      grant.tokens = [];
      grant.epoch = event.epoch;
      grant.sharesTtlMs = event.sharesTtlMs;
      return;
    case 'others':
      noteOthers(grant, othersAmong(queue, event.count), nowMs);
      return;
    case 'lingered':
      grant.lingeredAt = grant.lingersSince ?? 0;
      grant.lingersSince = undefined;
      return;
    case 'retained':
      grant.retainMs = 0;
      grant.lingeredAt = grant.servedCount;
  }
}

function join(queue: NodeQueue, task: QueuedTask): QueueEffect[] {
  const isBehind = queue.waiting.size > 0 || queue.requests.size > 0;
  if (!task.wait && isBehind) return [{ type: 'refuse', task: task.id }];
  queue.waiting.set(task.id, task);
  return [];
}

/** Ids rise in the order of arrival. */
function rejoin(queue: NodeQueue, task: QueuedTask): QueueEffect[] {
  const effects = join(queue, task);
  const { waiting } = queue;
  if (!waiting.has(task.id)) return effects;
  for (const behind of Array.from(waiting.values())) {
    if (behind.id <= task.id) continue;
    waiting.delete(behind.id);
    waiting.set(behind.id, behind);
  }
  return effects;
}

/** The request is over; undefined when it was given up before. */
function answered(queue: NodeQueue, request: number): QueuedTask | undefined {
  const task = queue.requests.get(request);
  if (task === undefined) return undefined;
  queue.requests.delete(request);
  return task;
}

function granted(
  queue: NodeQueue,
  event: Extract<QueueEvent, { type: 'granted' }>,
  nowMs: number,
): QueueEffect[] {
  const { request, tokens, othersCount, patienceMs } = event;
  const task = answered(queue, request);
  if (task === undefined) return [{ type: 'return', request }];
  const { mode, permits, capacity, lockDelayMs, sharesTtlMs } = task;
  const isExclusive = mode === 'exclusive';
  const grant: NodeGrant = {
    id: request,
    mode,
    permits,
    capacity,
    lockDelayMs,
    sharesTtlMs,
    holders: new FewSet(),
    tokens: isExclusive && tokens !== undefined ? [{ ...tokens }] : [],
    blockSize: tokens?.count ?? 1,
    epoch: isExclusive ? undefined : tokens?.first,
    reservation: 'none',
    othersCount: 0,
    othersSinceMs: nowMs,
    turnCount: -countWonFor(queue, task),
    servedCount: 0,
    patienceMs,
    retainMs: 0,
    isRetained: false,
    lingersSince: undefined,
    lingeredAt: 0,
  };
  queue.grants.set(request, grant);
  noteOthers(grant, othersAmong(queue, othersCount), nowMs);
  return [];
}

/**
 * How many of those who wait in the backend are not of this node, as far as can be told now. A request
 * that is made later is behind them, and is not taken for one of them.
 */
function othersAmong({ requests }: NodeQueue, count: number): number {
  return Math.max(0, count - requests.size);
}

/** The readers that waited together are let in together; any other grant is won for one task. */
function countWonFor(queue: NodeQueue, { mode, sharesTtlMs }: QueuedTask): number {
  if (mode !== 'shared' || sharesTtlMs === undefined) return 1;
  let count = 0;
  for (const task of queue.waiting.values()) {
    if (task.mode !== 'shared' || task.sharesTtlMs !== sharesTtlMs) break;
    count += 1;
  }
  return Math.max(count, 1);
}

function refused(queue: NodeQueue, request: number): QueueEffect[] {
  const task = answered(queue, request);
  if (task === undefined) return [];
  return queue.waiting.delete(task.id) ? [{ type: 'refuse', task: task.id }] : [];
}

/** Everyone who relied on the request learns of its failure; asking again is theirs to decide. */
function failed(
  queue: NodeQueue,
  { request, error, scope }: Extract<QueueEvent, { type: 'failed' }>,
): QueueEffect[] {
  const asked = answered(queue, request);
  if (asked === undefined) return [];
  const tasks = Array.from(queue.waiting.values());
  const concerned = tasks.filter((task) => scope === 'all' || isSameKind(task, asked));
  for (const { id } of concerned) queue.waiting.delete(id);
  return concerned.map(({ id }) => ({ type: 'fail', task: id, error }));
}

/** Gives what is held to those who are first here, and lets go of what serves nobody. */
function serve(queue: NodeQueue, nowMs: number, limits: QueueLimits, effects: QueueEffect[]): void {
  const { waiting, grants } = queue;
  for (let head = firstOf(queue); head !== undefined; head = firstOf(queue)) {
    const grant = grantFor(queue, head, nowMs, limits);
    if (grant === undefined) break;
    effects.push(start(queue, grant, head));
  }
  const head = firstOf(queue);
  for (const grant of grants.list()) {
    const isInUse = grant.holders.size > 0;
    const isYielding = mustYield(grant, nowMs, limits);
    if (isInUse || isKept(grant, head, isYielding)) {
      // Tokens are for writers.
      refill(grant, head?.mode === 'exclusive' ? waiting.size : 0, effects);
      if (!isInUse && head === undefined) retain(grant, effects);
    } else {
      grants.delete(grant.id);
      effects.push({ type: 'release', grant: grant.id });
    }
  }
}

function grantFor(
  { grants }: NodeQueue,
  task: QueuedTask,
  nowMs: number,
  limits: QueueLimits,
): NodeGrant | undefined {
  for (const grant of grants.list()) {
    if (!suits(grant, task) || !hasToken(grant)) continue;
    if (!mustYield(grant, nowMs, limits)) return grant;
  }
  return undefined;
}

function start(queue: NodeQueue, grant: NodeGrant, task: QueuedTask): QueueEffect {
  queue.waiting.delete(task.id);
  const isHandedOver = grant.servedCount > 0;
  const token = begin(grant, task);
  return { type: 'start', task: task.id, grant: grant.id, token, isHandedOver };
}

/** Answers its token. */
function begin(grant: NodeGrant, task: QueuedTask): bigint | undefined {
  // Who comes first sets with whom it is shared.
  if (grant.holders.size === 0) grant.sharesTtlMs = task.sharesTtlMs;
  grant.holders.add(task.id);
  grant.isRetained = false;
  grant.retainMs = task.retainMs;
  grant.turnCount += 1;
  grant.servedCount += 1;
  return takeToken(grant);
}

/** Whether a grant that nobody holds is kept: for its next tokens, or for whoever may come. */
function isKept(grant: NodeGrant, head: QueuedTask | undefined, isYielding: boolean): boolean {
  if (!mayServe(grant)) return false;
  if (head !== undefined) return suits(grant, head) && !isYielding;
  return grant.othersCount === 0 && (grant.retainMs > 0 || mayLinger(grant));
}

function retain(grant: NodeGrant, effects: QueueEffect[]): void {
  const { id, retainMs } = grant;
  if (!grant.isRetained && retainMs > 0) effects.push({ type: 'retain', grant: id, retainMs });
  const begins = grant.lingersSince === undefined;
  if (retainMs === 0 && (begins || !grant.isRetained)) {
    effects.push({ type: 'linger', grant: id, begins });
    grant.lingersSince ??= grant.servedCount;
  }
  grant.isRetained = true;
}

function refill(grant: NodeGrant, waitingCount: number, effects: QueueEffect[]): void {
  const tokens = refillFor(grant, waitingCount);
  if (tokens === undefined) return;
  grant.reservation = 'under-way';
  effects.push({ type: 'reserve', grant: grant.id, tokens });
}

/** Asks for those who are first, and gives up requests that nobody stands behind any more. */
function contend(queue: NodeQueue, effects: QueueEffect[]): void {
  const { waiting, requests } = queue;
  let head = firstOf(queue);
  while (head !== undefined && isBlockedHere(queue, head)) {
    waiting.delete(head.id);
    effects.push({ type: 'refuse', task: head.id });
    head = firstOf(queue);
  }
  const wanted = head === undefined ? 0 : requestsFor(queue, head);
  let kept = 0;
  for (const request of requests.keys()) {
    const task = requests.get(request);
    if (task === undefined) continue;
    if (kept < wanted && head !== undefined && isAnswerFor(task, head)) {
      kept += 1;
      continue;
    }
    requests.delete(request);
    effects.push({ type: 'give-up', request });
  }
  if (head === undefined) return;
  for (; kept < wanted; kept += 1) {
    queue.requestCount += 1;
    requests.set(queue.requestCount, head);
    const tokens = tokensFor(head, waiting.size);
    effects.push({ type: 'ask', request: queue.requestCount, task: head, tokens });
  }
}

/** Whether a request that was made for one task may be answered to another. */
function isAnswerFor(asked: QueuedTask, task: QueuedTask): boolean {
  // What does not wait may be answered "busy", which is no answer for anybody but its own task.
  if (!asked.wait && asked.id !== task.id) return false;
  return isSameKind(asked, task) && asked.lockDelayMs >= task.lockDelayMs;
}

/** Whether a task that does not wait is kept out by what is held here. */
function isBlockedHere({ grants }: NodeQueue, { wait, mode }: QueuedTask): boolean {
  if (wait || mode === 'counting') return false;
  for (const grant of grants.list()) {
    const isBusy = grant.holders.size > 0;
    if (isBusy && (mode === 'exclusive' || grant.mode === 'exclusive')) return true;
  }
  return false;
}

/** How many requests those who are first here need. */
function requestsFor({ grants, waiting }: NodeQueue, head: QueuedTask): number {
  for (const grant of grants.list()) {
    // A writer's grant comes round to the next writer, or is let go before it is asked for again.
    const comesRound = grant.mode === 'exclusive' && head.mode === 'exclusive';
    if (comesRound && grant.lockDelayMs >= head.lockDelayMs) return 0;
  }
  if (head.mode !== 'counting' || !head.wait) return 1;
  let count = 0;
  for (const task of waiting.values()) {
    if (count >= COUNTING_REQUESTS_MAX || !task.wait || !isSameKind(task, head)) break;
    count += 1;
  }
  return count;
}

function firstOf({ waiting }: NodeQueue): QueuedTask | undefined {
  return waiting.first;
}
