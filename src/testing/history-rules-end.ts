import type { HistoryViolation } from './history.js';
import {
  atMs,
  type Bounds,
  type Granted,
  grantedOf,
  nameOf,
  type Span,
  type Timeline,
  violation,
} from './history-spans.js';

/** After the end nobody holds or waits, and every call of a process that lives has ended. */
export function* noOrphan({
  spans,
  faults,
  quiesces,
  byResource,
}: Timeline): Generator<HistoryViolation> {
  for (const quiesce of quiesces) {
    const left = [...quiesce.holders, ...quiesce.waiters];
    const isKept = (byResource.get(quiesce.resource) ?? []).some((span) =>
      isOpen(span, quiesce.at),
    );
    if (left.length === 0 || isKept) continue;
    const message =
      `${quiesce.holders.length} hold and ${quiesce.waiters.length} wait for ` +
      `${JSON.stringify(quiesce.resource)} after all work has ended: ${left.join(', ')}`;
    yield violation('no-orphan', message, [quiesce]);
  }
  const endMs = quiesces.at(-1)?.at;
  if (endMs === undefined) return;
  const killed = new Set(
    faults.filter(({ fault }) => fault === 'kill').map(({ target }) => target),
  );
  for (const span of spans) {
    const isPending = span.acquired === undefined || (span.release && !span.released);
    if (!isPending || span.request.at > endMs || killed.has(span.request.process)) continue;
    const what =
      span.acquired === undefined ? 'never heard whether it got it' : 'never ended its release';
    yield violation('no-orphan', `${nameOf(span)} ${what}`, [span.request, span.release]);
  }
}

/** Whether a lease was still wanted at a moment. */
function isOpen({ acquired, lost, release }: Span, ms: number): boolean {
  if (acquired?.outcome !== 'granted' || acquired.at > ms) return false;
  return (lost?.at ?? Infinity) > ms && (release?.at ?? Infinity) > ms;
}

/**
 * No lease is held after its deadline: after it was lost, after the TTL of one that is not renewed,
 * after `maxHoldMs`, or a TTL after the last moment at which a backend could have renewed it.
 */
export function* heldPastDeadline(
  { spans, faults }: Timeline,
  bounds: Bounds,
): Generator<HistoryViolation> {
  const silences = faults.filter(({ silentUntilMs }) => silentUntilMs !== undefined);
  for (const span of grantedOf(spans)) {
    const { heldUntil, lost } = span;
    if (heldUntil === undefined) continue;
    const tell = (deadlineMs: number, why: string): HistoryViolation => {
      const message = `${nameOf(span)} was held at ${atMs(heldUntil.at)}, ${why} at ${atMs(deadlineMs)}`;
      return violation('held-past-deadline', message, [
        span.request,
        span.acquired,
        lost,
        heldUntil,
      ]);
    };
    if (lost !== undefined && heldUntil.at > lost.at) yield tell(lost.at, 'but lost');
    const endMs = lastDeadline(span, bounds);
    if (heldUntil.at > endMs) yield tell(endMs, 'but its end came');
    for (const { at, silentUntilMs = at } of silences) {
      const deadlineMs = at + longestTtl(span, bounds);
      const isWithin = heldUntil.at > deadlineMs && heldUntil.at <= silentUntilMs;
      if (isWithin) yield tell(deadlineMs, `but nobody answered from ${atMs(at)} on, so it ended`);
    }
  }
}

/** When a lease that is not renewed, or not for ever, is over. */
function lastDeadline(span: Granted, bounds: Bounds): number {
  const { renew, maxHoldMs = Infinity } = span.request;
  const lastMs = Math.max(span.acquired.at, ...span.extends.map(({ at }) => at));
  // An extension counts from its call; when its answer is still out, that is not later than this.
  const unrenewedMs = renew ? Infinity : lastMs + longestTtl(span, bounds);
  return Math.min(unrenewedMs, span.acquired.at + maxHoldMs);
}

function longestTtl({ request, extends: extensions }: Granted, { ttlMs }: Bounds): number {
  const asked = request.ttlMs ?? ttlMs;
  return Math.max(asked, ...extensions.map((extension) => extension.ttlMs ?? asked));
}
