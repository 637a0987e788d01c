import type { FaultEvent, HistoryViolation } from './history.js';
import {
  atMs,
  type Bounds,
  type Granted,
  grantedOf,
  type Held,
  heldOf,
  isOneHold,
  nameOf,
  type Span,
  type Timeline,
  tokenOf,
  violation,
} from './history-spans.js';

/**
 * Mutual exclusion modulo fence: what two leases certainly held at one moment must fit together. A
 * lease that was lost holds nothing from its last "held" on, so that it may meet the next one; with
 * `guarantee: 'fence'` it may also still believe, as long as the newer one has the higher token.
 */
export function* mutualExclusion(
  { byResource, faults }: Timeline,
  bounds: Bounds,
): Generator<HistoryViolation> {
  const revocations = faults.filter(({ revokedUntilMs }) => revokedUntilMs !== undefined);
  for (const spans of byResource.values()) {
    let inside: Held[] = [];
    for (const next of heldOf(spans)) {
      inside = inside.filter(({ heldUntil }) => heldUntil.at - next.heldFrom.at > bounds.skewMs);
      const others = inside.filter((other) => !isOneHold(other, next));
      const enemy = others.find((other) => !fits(other, next, bounds, revocations));
      if (enemy !== undefined) yield overlap(enemy, next);
      else {
        // A counting lease has no token that could excuse it once it was taken away.
        const certain = others.filter((other) => !isRevoked(other, next, revocations));
        if (isOverfull([...certain, next])) yield overfull([...certain, next]);
      }
      inside.push(next);
    }
  }
}

function fits(
  earlier: Held,
  later: Held,
  { guarantee }: Bounds,
  revocations: readonly FaultEvent[],
): boolean {
  const [one, other] = [earlier.request, later.request];
  if (one.mode === other.mode && one.mode !== 'exclusive') return one.capacity === other.capacity;
  if (guarantee !== 'fence' && !isRevoked(earlier, later, revocations)) return false;
  const [lower, higher] = [tokenOf(earlier), tokenOf(later)];
  return lower !== undefined && higher !== undefined && lower < higher;
}

/** Whether the earlier lease may have been taken away before it could know. */
function isRevoked(earlier: Held, later: Held, revocations: readonly FaultEvent[]): boolean {
  return revocations.some(
    ({ at, revokedUntilMs = at }) =>
      at <= later.heldFrom.at && earlier.heldUntil.at <= revokedUntilMs,
  );
}

function isOverfull(spans: readonly Span[]): boolean {
  const [{ request }] = spans as [Span];
  if (request.capacity === undefined) return false;
  return permitsOf(spans) > request.capacity;
}

const permitsOf = (spans: readonly Span[]): number =>
  spans.reduce((sum, { request }) => sum + (request.permits ?? 1), 0);

function overlap(earlier: Held, later: Held): HistoryViolation {
  const message =
    `${nameOf(later)} was held at ${atMs(later.heldFrom.at)}, while ${nameOf(earlier)} was held ` +
    `until ${atMs(earlier.heldUntil.at)} at least`;
  const events = [earlier.request, earlier.heldFrom, earlier.heldUntil];
  return violation('mutual-exclusion', message, [...events, later.request, later.heldFrom]);
}

function overfull(spans: readonly Held[]): HistoryViolation {
  const { request, heldFrom } = spans.at(-1) as Held;
  const message =
    `${spans.length} leases of ${JSON.stringify(request.resource)} took ${permitsOf(spans)} ` +
    `permits of ${request.capacity} at ${atMs(heldFrom.at)}: ${spans.map(nameOf).join('; ')}`;
  return violation(
    'mutual-exclusion',
    message,
    spans.flatMap((span) => [span.heldFrom, span.heldUntil]),
  );
}

/**
 * Tokens of exclusive leases increase strictly: in the order of holds, and whenever one was granted
 * before the other was asked for, held or not. A reader's lies between those of its writers.
 */
export function* fenceMonotone(
  { byResource }: Timeline,
  { skewMs }: Bounds,
): Generator<HistoryViolation> {
  for (const spans of byResource.values()) {
    yield* increasingOverHolds(heldOf(spans), skewMs);
    yield* increasingOverTime(grantedOf(spans).filter(isWriter), skewMs);
    yield* usedTwice(grantedOf(spans).filter(isWriter));
  }
}

const isWriter = ({ request }: Span): boolean => request.mode === 'exclusive';

function* increasingOverHolds(holds: readonly Held[], skewMs: number): Generator<HistoryViolation> {
  let newest: Held | undefined;
  for (const next of holds.filter((span) => tokenOf(span) !== undefined)) {
    const isOrdered = newest !== undefined && next.heldFrom.at - newest.heldFrom.at > skewMs;
    if (newest !== undefined && isOrdered && !isOneHold(newest, next) && !follows(newest, next)) {
      yield backwards(newest, next, 'was held after');
    }
    if (newest === undefined || tokenValue(next) >= tokenValue(newest)) newest = next;
  }
}

/** A reader may have the token of the writer before it, and of other readers; a writer never. */
function follows(earlier: Span, later: Span): boolean {
  const [lower, higher] = [tokenValue(earlier), tokenValue(later)];
  return isWriter(later) ? higher > lower : higher >= lower;
}

const tokenValue = (span: Span): bigint => tokenOf(span) ?? -1n;

function* increasingOverTime(
  writers: readonly Granted[],
  skewMs: number,
): Generator<HistoryViolation> {
  const answered = writers.toSorted((one, other) => one.acquired.at - other.acquired.at);
  let newest: Granted | undefined;
  let done = 0;
  for (const next of writers) {
    // Everything that was answered before this one was asked for.
    for (; done < answered.length; done += 1) {
      const earlier = answered[done] as Granted;
      if (earlier.acquired.at + skewMs >= next.request.at) break;
      if (newest === undefined || tokenValue(earlier) > tokenValue(newest)) newest = earlier;
    }
    if (newest === undefined || isOneHold(newest, next) || follows(newest, next)) continue;
    yield backwards(newest, next, 'was asked for after');
  }
}

function* usedTwice(writers: readonly Granted[]): Generator<HistoryViolation> {
  const seen = new Map<bigint, Granted>();
  for (const next of writers) {
    const first = seen.get(tokenValue(next));
    if (first !== undefined && !isOneHold(first, next)) yield backwards(first, next, 'shares with');
    seen.set(tokenValue(next), next);
  }
}

function backwards(earlier: Granted, later: Granted, how: string): HistoryViolation {
  const message = `the token of ${nameOf(later)} is not above: it ${how} ${nameOf(earlier)}`;
  const events = [earlier.request, earlier.acquired, later.request, later.acquired];
  return violation('fence-monotone', message, events);
}

/** A release tells `released` only of a lease that nobody had followed. */
export function* falseRelease(
  { byResource }: Timeline,
  { guarantee, skewMs }: Bounds,
): Generator<HistoryViolation> {
  if (guarantee === 'fence') return;
  for (const spans of byResource.values()) {
    const writers = grantedOf(spans).filter(isWriter);
    writers.sort((one, other) => (tokenValue(one) < tokenValue(other) ? -1 : 1));
    for (const [index, earlier] of writers.entries()) {
      const later = writers[index + 1];
      const { release, released } = earlier;
      if (later === undefined || release === undefined || released?.outcome !== 'released')
        continue;
      if (isOneHold(earlier, later) || later.acquired.at + skewMs >= release.at) continue;
      if (later.acquired.at < earlier.acquired.at) continue;
      const message = `${nameOf(earlier)} was told released at ${atMs(released.at)}, after ${nameOf(later)} had got it`;
      yield violation('false-release', message, [later.acquired, release, released]);
    }
  }
}
