import type {
  AcquiredEvent,
  AcquireEvent,
  CheckEvent,
  ExtendEvent,
  FaultEvent,
  HistoryEvent,
  HistoryRule,
  HistoryViolation,
  LostEvent,
  QuiesceEvent,
  ReleasedEvent,
  ReleaseEvent,
} from './history.js';

/** Everything that a history tells of one request and its lease. */
export interface Span {
  readonly request: AcquireEvent;
  acquired?: AcquiredEvent;
  readonly extends: ExtendEvent[];
  lost?: LostEvent;
  release?: ReleaseEvent;
  released?: ReleasedEvent;
  /** The first and the last moment at which it certainly was held. */
  heldFrom?: AcquiredEvent;
  heldUntil?: AcquiredEvent | CheckEvent | ReleaseEvent;
}

/** A span with a lease. */
export type Granted = Span & { readonly acquired: AcquiredEvent };
/** A span with a lease that was certainly held, if only for a moment. */
export type Held = Granted & {
  readonly heldFrom: AcquiredEvent;
  readonly heldUntil: AcquiredEvent | CheckEvent | ReleaseEvent;
};

/** A history in the form that the rules look at. */
export interface Timeline {
  /** In the order in which they began. */
  readonly spans: readonly Span[];
  readonly byResource: ReadonlyMap<string, readonly Span[]>;
  readonly faults: readonly FaultEvent[];
  readonly quiesces: readonly QuiesceEvent[];
  /** What was wrong with the history itself. */
  readonly malformed: readonly HistoryViolation[];
}

/** How strictly, and with which bounds, the rules judge; all defaults filled in. */
export interface Bounds {
  readonly guarantee: 'exclusion' | 'fence';
  readonly skewMs: number;
  readonly settleMs: number;
  readonly wakeUpMsMax: number;
  readonly localHandoffs: number;
  readonly ttlMs: number;
}

/** A rule of the checker: what it finds in a timeline. */
export type Rule = (timeline: Timeline, bounds: Bounds) => Iterable<HistoryViolation>;

/** Builds a violation. */
export function violation(
  rule: HistoryRule,
  message: string,
  events: readonly (HistoryEvent | undefined)[],
): HistoryViolation {
  return { rule, message, events: events.filter((event) => event !== undefined) };
}

/** Sorts a history by time and joins what belongs together. */
export function timelineOf(events: Iterable<HistoryEvent>): Timeline {
  const spans = new Map<string, Span>();
  const byResource = new Map<string, Span[]>();
  const faults: FaultEvent[] = [];
  const quiesces: QuiesceEvent[] = [];
  const malformed: HistoryViolation[] = [];
  // A stable sort: what one process wrote at one moment stays in its order.
  const sorted = Array.from(events).sort((one, other) => one.at - other.at);
  for (const event of sorted) {
    if (event.event === 'fault') faults.push(event);
    else if (event.event === 'quiesce') quiesces.push(event);
    else if (event.event === 'overflow') {
      malformed.push(violation('well-formed', 'the recorder had no room left', [event]));
    } else if (event.event === 'acquire') begin(event);
    else {
      const problem = join(spans.get(keyOf(event)), event);
      if (problem !== undefined) malformed.push(violation('well-formed', problem, [event]));
    }
  }
  return { spans: [...spans.values()], byResource, faults, quiesces, malformed };

  function begin(request: AcquireEvent): void {
    if (spans.has(keyOf(request))) {
      const message = `${keyOf(request)} begins twice: two processes have one name`;
      malformed.push(violation('well-formed', message, [request]));
      return;
    }
    const span: Span = { request, extends: [] };
    spans.set(keyOf(request), span);
    const others = byResource.get(request.resource);
    if (others === undefined) byResource.set(request.resource, [span]);
    else others.push(span);
  }
}

type OfSpan = Exclude<
  HistoryEvent,
  { readonly event: 'acquire' | 'fault' | 'quiesce' | 'overflow' }
>;

const keyOf = (event: { readonly process: string; readonly operation: string }): string =>
  `${event.process}/${event.operation}`;

/** Adds an event to its span; answers what is wrong with it, if anything. */
function join(span: Span | undefined, event: OfSpan): string | undefined {
  if (span === undefined) return `${event.event} of ${keyOf(event)}, which never began`;
  if (event.event !== 'acquired' && span.acquired?.outcome !== 'granted') {
    return `${event.event} of ${keyOf(event)}, which has no lease`;
  }
  switch (event.event) {
    case 'acquired':
      if (span.acquired !== undefined) return `${keyOf(event)} was answered twice`;
      span.acquired = event;
      if (event.isHeld === true) {
        span.heldFrom = event;
        span.heldUntil = event;
      }
      return undefined;
    case 'check':
      if (event.isHeld) span.heldUntil = event;
      return undefined;
    case 'extend':
      span.extends.push(event);
      return undefined;
    case 'lost':
      span.lost ??= event;
      return undefined;
    case 'release':
    case 'downgrade':
      if (event.isHeld) span.heldUntil = event;
      span.release = event;
      return undefined;
    case 'released':
    case 'downgraded':
      span.released = event;
      return undefined;
  }
}

/** Those that got a lease. */
export function grantedOf(spans: readonly Span[]): Granted[] {
  return spans.filter((span): span is Granted => span.acquired?.outcome === 'granted');
}

/**
 * Those that were certainly held, in the order in which they came. Where two came at one moment of a
 * virtual clock, the one that went at that moment was the first.
 */
export function heldOf(spans: readonly Span[]): Held[] {
  return grantedOf(spans)
    .filter((span): span is Held => span.heldFrom !== undefined)
    .sort(
      (one, other) => one.heldFrom.at - other.heldFrom.at || one.heldUntil.at - other.heldUntil.at,
    );
}

/** The fencing token, if the lease has one. */
export const tokenOf = ({ acquired }: Span): bigint | undefined =>
  acquired?.token === undefined ? undefined : BigInt(acquired.token);

/** Who, for messages: node, process and what it holds. */
export function nameOf(span: Span): string {
  const { node, process, operation, mode, resource } = span.request;
  const token = span.acquired?.token;
  const fence = token === undefined ? '' : `, token ${token}`;
  return `${node} (${process}/${operation}, ${mode} ${JSON.stringify(resource)}${fence})`;
}

/** A moment, for messages. */
export const atMs = (ms: number): string => `${ms.toFixed(3)} ms`;

/** Whether a fault may have had to do with what happened between two moments. */
export function isFaulty(faults: readonly FaultEvent[], fromMs: number, untilMs: number): boolean {
  return faults.some((fault) => fault.at <= untilMs && fault.untilMs >= fromMs);
}

/** Whether two leases of one task are one hold. */
export function isOneHold(one: Span, other: Span): boolean {
  const isReentrant = one.request.isReentrant === true || other.request.isReentrant === true;
  return isReentrant && one.request.process === other.request.process;
}
