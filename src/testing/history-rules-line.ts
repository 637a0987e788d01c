import type { HistoryViolation } from './history.js';
import {
  atMs,
  type Bounds,
  type Granted,
  grantedOf,
  isFaulty,
  nameOf,
  type Span,
  type Timeline,
  violation,
} from './history-spans.js';

/** A span that stood in line from beginning to end, undisturbed. */
type Waited = Span & { readonly acquired: NonNullable<Span['acquired']> };

/** Those that waited while nothing was broken: only of them order and wake-ups are promised. */
function* waitedOf(spans: readonly Span[], { faults }: Timeline): Generator<Waited> {
  for (const span of spans) {
    const { request, acquired } = span;
    if (acquired === undefined || acquired.outcome === 'taken') continue;
    if (!request.waits || request.isOneOfSeveral || request.isReentrant === true) continue;
    if (!isFaulty(faults, request.at, acquired.at)) yield span as Waited;
  }
}

const nodeOf = ({ request }: Span): string => `${request.process} ${request.node}`;

/**
 * First come, first served. Who asked at least `settleMs` later is not served `settleMs` earlier,
 * except for the tasks of a node that was in line before: it may hand over inside itself
 * `localHandoffs` times, after its turn began with one of them.
 */
export function* firstComeFirstServed(
  timeline: Timeline,
  bounds: Bounds,
): Generator<HistoryViolation> {
  for (const spans of timeline.byResource.values()) {
    const served = grantedOf(spans).filter(({ request }) => !request.isOneOfSeveral);
    served.sort((one, other) => one.acquired.at - other.acquired.at);
    for (const waiter of waitedOf(spans, timeline)) yield* overtaken(waiter, served, bounds);
  }
}

function* overtaken(
  waiter: Waited,
  served: readonly Granted[],
  { settleMs, localHandoffs }: Bounds,
): Generator<HistoryViolation> {
  const fromMs = waiter.request.at + settleMs;
  const untilMs = waiter.acquired.at - settleMs;
  const turns = new Map<string, Granted[]>();
  for (let index = firstAfter(served, fromMs); index < served.length; index += 1) {
    const other = served[index] as Granted;
    if (other.acquired.at >= untilMs) break;
    if (other.request.at <= fromMs || !other.request.waits) continue;
    const turn = turns.get(nodeOf(other)) ?? [];
    turn.push(other);
    turns.set(nodeOf(other), turn);
  }
  for (const [node, turn] of turns) {
    const turnsMax = node === nodeOf(waiter) ? 0 : localHandoffs + 1;
    if (turn.length <= turnsMax) continue;
    const message =
      `${nameOf(waiter)} waited from ${atMs(waiter.request.at)} to ${atMs(waiter.acquired.at)}, and ` +
      `${turn.length} that asked later on ${node} were served before it (at most ${turnsMax})`;
    const others = turn
      .slice(0, turnsMax + 1)
      .flatMap(({ request, acquired }) => [request, acquired]);
    yield violation('first-come-first-served', message, [
      waiter.request,
      waiter.acquired,
      ...others,
    ]);
  }
}

/** The index of the first that was served after a moment. */
function firstAfter(served: readonly Granted[], ms: number): number {
  let [low, high] = [0, served.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((served[middle] as Granted).acquired.at > ms) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** An interval in which a resource may have been held. */
interface Hold {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly span: Span;
}

/** Nobody waits longer than `wakeUpMsMax` for a resource that nobody can be holding. */
export function* noLostWakeUp(timeline: Timeline, bounds: Bounds): Generator<HistoryViolation> {
  for (const spans of timeline.byResource.values()) {
    const holds = mergedHolds(spans, bounds);
    for (const waiter of waitedOf(spans, timeline)) {
      const { request, acquired } = waiter;
      const gap = longestGap(holds, request.at + bounds.settleMs, acquired.at);
      if (gap === undefined || gap.untilMs - gap.fromMs <= bounds.wakeUpMsMax) continue;
      const message =
        `${nameOf(waiter)} waited from ${atMs(request.at)} to ${atMs(acquired.at)}, although nobody ` +
        `held it from ${atMs(gap.fromMs)} to ${atMs(gap.untilMs)}`;
      const last = gap.after?.span;
      yield violation('no-lost-wake-up', message, [last?.released, request, acquired]);
    }
  }
}

/** When leases may have been held, joined where they touch, in order. */
function mergedHolds(spans: readonly Span[], { ttlMs }: Bounds): Hold[] {
  const holds: Hold[] = grantedOf(spans).map((span) => ({
    fromMs: span.acquired.at,
    untilMs: endOf(span, ttlMs),
    span,
  }));
  // Who wants several may have some of them while it waits for the others.
  for (const span of spans.filter(({ request }) => request.isOneOfSeveral)) {
    const { request, acquired } = span;
    holds.push({ fromMs: request.at, untilMs: acquired?.at ?? Number.POSITIVE_INFINITY, span });
  }
  holds.sort((one, other) => one.fromMs - other.fromMs);
  const merged: Hold[] = [];
  for (const hold of holds) {
    const last = merged.at(-1);
    if (last === undefined || hold.fromMs > last.untilMs) merged.push(hold);
    else if (hold.untilMs > last.untilMs) {
      merged[merged.length - 1] = { ...last, untilMs: hold.untilMs, span: hold.span };
    }
  }
  return merged;
}

/** From when on the backend cannot be holding it any more. */
function endOf({ request, acquired, heldUntil, lost, released }: Granted, ttlMs: number): number {
  const isEnded = released !== undefined && released.outcome !== 'failed';
  if (isEnded) return released.at;
  // A renewal whose answer was lost may have been the last, one TTL before.
  const lastMs = Math.max(heldUntil?.at ?? acquired.at, lost?.at ?? 0, released?.at ?? 0);
  return lastMs + 2 * (request.ttlMs ?? ttlMs);
}

interface Gap {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly after?: Hold | undefined;
}

function longestGap(holds: readonly Hold[], fromMs: number, untilMs: number): Gap | undefined {
  let longest: Gap | undefined;
  let freeFromMs = fromMs;
  let after: Hold | undefined;
  const note = (gapUntilMs: number): void => {
    const gap = { fromMs: freeFromMs, untilMs: gapUntilMs, after };
    const isLonger =
      longest === undefined || gapUntilMs - freeFromMs > longest.untilMs - longest.fromMs;
    if (gapUntilMs > freeFromMs && isLonger) longest = gap;
  };
  for (let index = firstEndingAfter(holds, fromMs); index < holds.length; index += 1) {
    const hold = holds[index] as Hold;
    if (hold.fromMs >= untilMs) break;
    note(hold.fromMs);
    freeFromMs = Math.max(freeFromMs, hold.untilMs);
    after = hold;
  }
  note(untilMs);
  return longest;
}

/** Joined holds end in the order in which they begin. */
function firstEndingAfter(holds: readonly Hold[], ms: number): number {
  let [low, high] = [0, holds.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((holds[middle] as Hold).untilMs > ms) high = middle;
    else low = middle + 1;
  }
  return low;
}
