import type { FewSet } from '../core/few-map.js';
import type { LockMode } from './driver.js';

/** A task that wants the resource. */
export interface QueuedTask {
  readonly id: number;
  /** False: it is refused as soon as anybody, here or elsewhere, is before it. */
  readonly wait: boolean;
  readonly mode: LockMode;
  readonly permits: number;
  readonly capacity: number;
  /** A grant serves whoever asks for no longer a delay than it has. */
  readonly lockDelayMs: number;
  /** For how long its grant is kept after it, if nobody wants it. */
  readonly retainMs: number;
  /**
   * Readers of one TTL, which the node renews for as long as they hold, share one grant. Undefined for
   * a task whose lease ends at a time of its own.
   */
  readonly sharesTtlMs: number | undefined;
}

/** Consecutive fencing tokens. */
export interface TokenBlock {
  first: bigint;
  count: number;
}

/** A grant of this node. */
export interface NodeGrant {
  /** The request that won it, which names it from then on. */
  readonly id: number;
  mode: LockMode;
  readonly permits: number;
  readonly capacity: number;
  readonly lockDelayMs: number;
  /** Of the readers that hold it now. */
  sharesTtlMs: number | undefined;
  /** The tasks that hold it: one at most, or as many readers as share it. */
  readonly holders: FewSet<number>;
  /** The tokens that are left, in rising blocks; the one in use is not among them. */
  tokens: TokenBlock[];
  /** How many the last block had. */
  blockSize: number;
  /** The epoch of a reader's grant. */
  epoch: bigint | undefined;
  reservation: 'none' | 'under-way' | 'failed';
  /** How many of other nodes wait for it in the backend, and since when. */
  othersCount: number;
  othersSinceMs: number;
  /** How many tasks were served here since others are known to wait; below 0, who it was won for. */
  turnCount: number;
  servedCount: number;
  /** Half of the lease: for how long others are passed over at most. */
  readonly patienceMs: number;
  /** As the last task asked; 0 once that time is over. */
  retainMs: number;
  /** Nobody holds it, and it is kept for the next one here. */
  isRetained: boolean;
  /** The end of this turn is waited for; how many had been served when that began. */
  lingersSince: number | undefined;
  /** How many had been served when nobody had come for a whole turn. */
  lingeredAt: number;
}

/** What does not change while a queue lives. */
export interface QueueLimits {
  /** How many tasks are served here, while others wait elsewhere, before they get their turn. */
  readonly localHandoffs: number;
}

/** More is not reserved at once: tokens may not run ahead of a backend's microsecond clock. */
const TOKENS_MAX = 1_024;
const TOKENS_MIN = 16;
/** A refill is asked for when this part of the last block is left. */
const REFILL_PART = 4;

/** Whether both want the resource in the same way. */
export function isSameKind(one: QueuedTask | NodeGrant, other: QueuedTask | NodeGrant): boolean {
  return (
    one.mode === other.mode && one.permits === other.permits && one.capacity === other.capacity
  );
}

/** Whether a grant could be the task's right now, as far as both of them are concerned. */
export function suits(grant: NodeGrant, task: QueuedTask): boolean {
  if (!isSameKind(grant, task) || grant.lockDelayMs < task.lockDelayMs) return false;
  if (grant.holders.size === 0) return true;
  // Readers share; what is exclusive or counted has one holder.
  const isShared = grant.mode === 'shared' && task.sharesTtlMs !== undefined;
  return isShared && grant.sharesTtlMs === task.sharesTtlMs;
}

/** Whether a grant has what a task is started with. */
export function hasToken(grant: NodeGrant): boolean {
  return grant.mode !== 'exclusive' || grant.tokens.length > 0;
}

/** Whether it can ever serve another task. */
export function mayServe(grant: NodeGrant): boolean {
  return hasToken(grant) || grant.reservation !== 'failed';
}

/**
 * Whether those who wait elsewhere get their turn now. Writers and who
 * counts pass them over for so many turns and for so long. Readers that come later do not: they
 * would keep a writer out by following one another.
 */
export function mustYield(
  grant: NodeGrant,
  nowMs: number,
  { localHandoffs }: QueueLimits,
): boolean {
  // The tasks that the grant was won for are always served.
  if (grant.turnCount < 0 || grant.othersCount === 0) return false;
  if (grant.mode === 'shared') return true;
  return grant.turnCount >= localHandoffs || nowMs - grant.othersSinceMs >= grant.patienceMs;
}

/**
 * Whether it is kept until the end of this turn of the event loop: tasks that take turns here are often
 * back by then, and to let go of it would cost each of them a round trip.
 */
export function mayLinger({ mode, servedCount, lingeredAt }: NodeGrant): boolean {
  return mode === 'exclusive' && servedCount > 1 && lingeredAt < servedCount;
}

/** So many of other nodes wait for the grant in the backend. */
export function noteOthers(grant: NodeGrant, count: number, nowMs: number): void {
  if (grant.othersCount === 0 && count > 0) {
    grant.othersSinceMs = nowMs;
    grant.turnCount = Math.min(grant.turnCount, 0);
  }
  grant.othersCount = count;
}

/** Takes the token that the next task carries: one of its own for a writer, the epoch for readers. */
export function takeToken(grant: NodeGrant): bigint | undefined {
  if (grant.mode !== 'exclusive') return grant.epoch;
  const [block] = grant.tokens;
  if (block === undefined) throw new Error('a task is started only while tokens are left');
  const { first } = block;
  block.count -= 1;
  if (block.count === 0) grant.tokens.shift();
  else block.first = first + 1n;
  return first;
}

/** How many tokens a grant is asked for with, for so many who wait. */
export function tokensFor({ mode, retainMs }: QueuedTask, taskCount: number): number {
  if (mode !== 'exclusive' || (taskCount === 1 && retainMs === 0)) return 1;
  return Math.min(TOKENS_MAX, Math.max(TOKENS_MIN, 4 * taskCount));
}

/**
 * How many more tokens to reserve, if any: once those who wait here, or who come to a retained grant,
 * need them. Each block is twice as large as the one before, so that none is waited for.
 */
export function refillFor(
  grant: NodeGrant,
  waitingCount: number,
  retainMs: number = grant.retainMs,
): number | undefined {
  if (grant.mode !== 'exclusive' || grant.reservation !== 'none') return undefined;
  if (waitingCount === 0 && retainMs === 0 && !mayLinger(grant)) return undefined;
  let left = 0;
  for (const { count } of grant.tokens) left += count;
  const wanted = Math.max(TOKENS_MIN, 4 * waitingCount, 2 * grant.blockSize);
  const size = Math.min(TOKENS_MAX, wanted);
  return left > size / REFILL_PART ? undefined : size;
}
