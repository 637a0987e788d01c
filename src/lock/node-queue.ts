/**
 * The tasks of one node that want one resource, and the node's grant of it: a state machine without
 * I/O and without a clock. The node contends, not the task: at most one request is under way, and a
 * grant is handed from task to task, each with a fencing token of its own from the grant's block.
 *
 * {@link transition} changes the state in place, because a line may be thousands long, and answers
 * what is to be done. It is deterministic, so a test can explore every order of events.
 */
export interface NodeQueue {
  /** First come, first served. */
  readonly waiting: Map<number, QueuedTask>;
  /** The one request under way. Answers to earlier ones are stale. */
  request: { readonly id: number; readonly task: QueuedTask } | undefined;
  held: HeldGrant | undefined;
  /** How many requests there have been; the next one's id. */
  requestCount: number;
}

/** A task that wants the resource. */
export interface QueuedTask {
  readonly id: number;
  /** False: it is refused as soon as anybody, here or elsewhere, is before it. */
  readonly wait: boolean;
}

/** The node's grant. */
export interface HeldGrant {
  /** The request that won it, which names it from then on. */
  readonly id: number;
  /** The task that holds the lease; undefined while the next one waits for tokens. */
  holder: number | undefined;
  /** The tokens that are left, in rising blocks; the one in use is not among them. */
  readonly tokens: TokenBlock[];
  reservation: 'none' | 'under-way' | 'failed';
  /** How many wait elsewhere, and since when that is known. */
  othersCount: number;
  othersSinceMs: number;
  /** How many tasks were served here since others are known to wait. */
  turnCount: number;
  /** Half of the lease: for how long others are passed over at most. */
  readonly patienceMs: number;
}

/** Consecutive fencing tokens. */
export interface TokenBlock {
  readonly first: bigint;
  readonly count: number;
}

/** What happened. Times are monotonic milliseconds. */
export type QueueEvent =
  | { readonly type: 'joined'; readonly task: QueuedTask }
  | { readonly type: 'left'; readonly task: number }
  | {
      readonly type: 'granted';
      readonly request: number;
      readonly tokens: TokenBlock;
      readonly othersCount: number;
      readonly patienceMs: number;
    }
  | { readonly type: 'busy'; readonly request: number }
  | { readonly type: 'failed'; readonly request: number; readonly error: unknown }
  /** The grant came so late that it had ended before. */
  | { readonly type: 'missed'; readonly request: number }
  | { readonly type: 'finished'; readonly task: number }
  | { readonly type: 'reserved'; readonly grant: number; readonly tokens: TokenBlock | undefined }
  | { readonly type: 'others'; readonly grant: number; readonly count: number }
  | { readonly type: 'lost'; readonly grant: number };

/** What is to be done, in this order. */
export type QueueEffect =
  | {
      readonly type: 'ask';
      readonly request: number;
      readonly task: QueuedTask;
      readonly tokens: number;
    }
  | { readonly type: 'give-up'; readonly request: number }
  /** A grant that nobody wants any more. */
  | { readonly type: 'return'; readonly request: number }
  | {
      readonly type: 'start';
      readonly task: number;
      readonly grant: number;
      readonly token: bigint;
      readonly isHandedOver: boolean;
    }
  | { readonly type: 'refuse'; readonly task: number }
  | { readonly type: 'fail'; readonly task: number; readonly error: unknown }
  | { readonly type: 'reserve'; readonly grant: number; readonly tokens: number }
  | { readonly type: 'release'; readonly grant: number };

/** What does not change while a queue lives. */
export interface QueueLimits {
  /** How many tasks are served here, while others wait elsewhere, before they get their turn. */
  readonly localHandoffs: number;
}

/** More is not reserved at once: tokens may not run ahead of a backend's microsecond clock. */
const TOKENS_MAX = 1_024;
const TOKENS_MIN = 16;
/** A refill is asked for when this part of what would be reserved now is left. */
const REFILL_PART = 4;

/** A queue that nobody is in. */
export function emptyQueue(): NodeQueue {
  return { waiting: new Map(), request: undefined, held: undefined, requestCount: 0 };
}

/** Whether there is nothing to remember. */
export function isIdle(queue: NodeQueue): boolean {
  return queue.waiting.size === 0 && queue.request === undefined && queue.held === undefined;
}

/** Applies one event that happened at `nowMs`. */
export function transition(
  queue: NodeQueue,
  event: QueueEvent,
  nowMs: number,
  limits: QueueLimits,
): QueueEffect[] {
  const effects = apply(queue, event, nowMs);
  if (queue.held !== undefined) serve(queue, queue.held, nowMs, limits, effects);
  if (queue.held === undefined) contend(queue, effects);
  return effects;
}

function apply(queue: NodeQueue, event: QueueEvent, nowMs: number): QueueEffect[] {
  const { held } = queue;
  switch (event.type) {
    case 'joined':
      return join(queue, event.task);
    case 'left':
      queue.waiting.delete(event.task);
      return [];
    case 'granted':
      return granted(queue, event, nowMs);
    case 'busy':
      return refused(queue, event.request);
    case 'failed':
      return failed(queue, event.request, event.error);
    case 'missed':
      if (queue.request?.id === event.request) queue.request = undefined;
      return [];
    case 'finished':
      if (held?.holder === event.task) held.holder = undefined;
      return [];
    case 'reserved':
      if (held?.id === event.grant) reserved(held, event.tokens);
      return [];
    case 'others':
      if (held?.id === event.grant) noteOthers(held, event.count, nowMs);
      return [];
    case 'lost':
      if (held?.id === event.grant) queue.held = undefined;
      return [];
  }
}

function join(queue: NodeQueue, task: QueuedTask): QueueEffect[] {
  const isFirst =
    queue.waiting.size === 0 && queue.request === undefined && queue.held === undefined;
  if (!task.wait && !isFirst) return [{ type: 'refuse', task: task.id }];
  queue.waiting.set(task.id, task);
  return [];
}

function granted(
  queue: NodeQueue,
  event: Extract<QueueEvent, { type: 'granted' }>,
  nowMs: number,
): QueueEffect[] {
  if (queue.request?.id !== event.request) return [{ type: 'return', request: event.request }];
  queue.request = undefined;
  queue.held = {
    id: event.request,
    holder: undefined,
    tokens: [event.tokens],
    reservation: 'none',
    othersCount: 0,
    othersSinceMs: nowMs,
    // The first task to be served is not handed over to.
    turnCount: -1,
    patienceMs: event.patienceMs,
  };
  noteOthers(queue.held, event.othersCount, nowMs);
  return [];
}

function refused(queue: NodeQueue, request: number): QueueEffect[] {
  if (queue.request?.id !== request) return [];
  const { task } = queue.request;
  queue.request = undefined;
  return queue.waiting.delete(task.id) ? [{ type: 'refuse', task: task.id }] : [];
}

/** Everyone who relied on the request learns of its failure; asking again is theirs to decide. */
function failed(queue: NodeQueue, request: number, error: unknown): QueueEffect[] {
  if (queue.request?.id !== request) return [];
  queue.request = undefined;
  const tasks = Array.from(queue.waiting.keys());
  queue.waiting.clear();
  return tasks.map((task) => ({ type: 'fail', task, error }));
}

function reserved(held: HeldGrant, tokens: TokenBlock | undefined): void {
  held.reservation = tokens === undefined ? 'failed' : 'none';
  if (tokens !== undefined) held.tokens.push(tokens);
}

function noteOthers(held: HeldGrant, count: number, nowMs: number): void {
  if (held.othersCount === 0 && count > 0) {
    held.othersSinceMs = nowMs;
    held.turnCount = Math.min(held.turnCount, 0);
  }
  held.othersCount = count;
}

/** Gives the grant to the next task here, or lets it go. */
function serve(
  queue: NodeQueue,
  held: HeldGrant,
  nowMs: number,
  limits: QueueLimits,
  effects: QueueEffect[],
): void {
  const head = firstOf(queue);
  if (held.holder === undefined) {
    const mayReserve = held.reservation !== 'failed';
    const canServe = head !== undefined && (held.tokens.length > 0 || mayReserve);
    if (!canServe || mustYield(held, nowMs, limits)) {
      queue.held = undefined;
      effects.push({ type: 'release', grant: held.id });
      return;
    }
    if (held.tokens.length > 0) {
      effects.push(start(queue, held, head));
    }
  }
  refill(queue, held, effects);
}

function start(queue: NodeQueue, held: HeldGrant, head: QueuedTask): QueueEffect {
  queue.waiting.delete(head.id);
  held.holder = head.id;
  held.turnCount += 1;
  const token = takeToken(held.tokens);
  const isHandedOver = held.turnCount > 0;
  return { type: 'start', task: head.id, grant: held.id, token, isHandedOver };
}

/** Others elsewhere are passed over for so many turns and for so long, then they get theirs. */
function mustYield(held: HeldGrant, nowMs: number, { localHandoffs }: QueueLimits): boolean {
  // The task that the grant was won for is always served.
  if (held.othersCount === 0 || held.turnCount < 0) return false;
  return held.turnCount >= localHandoffs || nowMs - held.othersSinceMs >= held.patienceMs;
}

function refill(queue: NodeQueue, held: HeldGrant, effects: QueueEffect[]): void {
  if (queue.waiting.size === 0 || held.reservation !== 'none') return;
  const wanted = tokensFor(queue.waiting.size);
  const left = held.tokens.reduce((sum, block) => sum + block.count, 0);
  if (left > wanted / REFILL_PART) return;
  held.reservation = 'under-way';
  effects.push({ type: 'reserve', grant: held.id, tokens: wanted });
}

/** Asks for the first in line, or gives up a request that nobody stands behind any more. */
function contend(queue: NodeQueue, effects: QueueEffect[]): void {
  const head = firstOf(queue);
  const { request } = queue;
  // What does not wait may be answered "busy", which is no answer for anybody but its own task.
  const isStale = request !== undefined && !request.task.wait && request.task.id !== head?.id;
  if (request !== undefined && (head === undefined || isStale)) {
    effects.push({ type: 'give-up', request: request.id });
    queue.request = undefined;
  }
  if (head === undefined || queue.request !== undefined) return;
  queue.requestCount += 1;
  queue.request = { id: queue.requestCount, task: head };
  const tokens = queue.waiting.size === 1 ? 1 : tokensFor(queue.waiting.size);
  effects.push({ type: 'ask', request: queue.requestCount, task: head, tokens });
}

function tokensFor(taskCount: number): number {
  return Math.min(TOKENS_MAX, Math.max(TOKENS_MIN, 4 * taskCount));
}

function firstOf(queue: NodeQueue): QueuedTask | undefined {
  return queue.waiting.values().next().value;
}

function takeToken(blocks: TokenBlock[]): bigint {
  const block = blocks.shift();
  if (block === undefined) throw new Error('a task is started only while tokens are left');
  if (block.count > 1) blocks.unshift({ first: block.first + 1n, count: block.count - 1 });
  return block.first;
}
