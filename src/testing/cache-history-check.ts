import { assertNumber } from '../core/validate.js';
import type {
  CacheAnswerEvent,
  CacheHistoryEvent,
  CacheHistoryRule,
  CacheHistoryViolation,
  CacheReadEvent,
  CacheWriteEvent,
} from './cache-history.js';
import { orderViolations } from './cache-history-order.js';
import type { FaultEvent } from './history.js';
import { readEvents } from './history-check.js';

/** Options of {@link checkCacheHistory}. */
export interface CheckCacheHistoryOptions {
  /** How far apart the clocks of the recording machines may be, in milliseconds. Default 0: one machine. */
  readonly skewMs?: number | undefined;
  /**
   * For so long after it stood still (a fault whose target it is) a process may not have heard what
   * happened meanwhile. Default 100.
   */
  readonly settleMs?: number | undefined;
  /**
   * True: the cache is linearizable (`strict`), so that no read goes back behind what another one was
   * answered before it began. Default false.
   */
  readonly isLinearizable?: boolean | undefined;
  /** How many violations are told at most. Default 1,000. */
  readonly violationsMax?: number | undefined;
}

/**
 * Judges what `recordCacheHistory` wrote; answers what it violates, nothing for a cache that keeps its
 * promise.
 *
 * The rule: a read that begins at `t` with a promise of `s` milliseconds is answered no version that
 * was followed, before `t − s`, by the acknowledgement of a newer one; with the acknowledgements of its
 * own process `s` is nothing. So every answer was current at some moment within the promised
 * staleness. A write without an acknowledgement (it failed, or its process was killed) promises
 * nothing, and may be answered from the moment its commit began.
 *
 * A process that is named by a fault as its target stood still meanwhile: to its reads up to
 * `settleMs` after it the length of the fault is allowed on top.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a bad option.
 */
export function checkCacheHistory(
  events: Iterable<CacheHistoryEvent>,
  options: CheckCacheHistoryOptions = {},
): CacheHistoryViolation[] {
  const { skewMs = 0, settleMs = 100, violationsMax = 1_000, isLinearizable = false } = options;
  for (const [name, value] of Object.entries({ skewMs, settleMs })) {
    assertNumber(name, value, { min: 0 });
  }
  assertNumber('violationsMax', violationsMax, { min: 1, integer: true });
  const ledger = ledgerOf(events);
  const order = isLinearizable ? orderViolations(ledger.answers, skewMs) : [];
  const violations = [...ledger.malformed, ...order];
  for (const { read, answer } of ledger.answers) {
    if (violations.length >= violationsMax) break;
    violations.push(...judged(ledger, { skewMs, settleMs }, read, answer));
  }
  return violations.slice(0, violationsMax);
}

/**
 * Reads a history that `recordCacheHistory` wrote to a file. A last line that a killed process did not
 * finish is left out.
 *
 * @throws SyntaxError with the number of a line that is no event.
 */
export async function readCacheHistory(file: string): Promise<CacheHistoryEvent[]> {
  return readEvents<CacheHistoryEvent>(file);
}

interface Acknowledged {
  readonly atMs: number;
  readonly write: CacheWriteEvent;
  /** The write with the newest version of all that were acknowledged up to here. */
  readonly newest: CacheWriteEvent;
}

interface Ledger {
  readonly answers: { readonly read: CacheReadEvent; readonly answer: CacheAnswerEvent }[];
  /** By key, in the order of time; by process and key for its own. */
  readonly acknowledged: Map<string, Acknowledged[]>;
  /** When the commit of a version began first, by key and version. */
  readonly begun: Map<string, number>;
  readonly faults: FaultEvent[];
  readonly malformed: CacheHistoryViolation[];
}

const violation = (
  rule: CacheHistoryRule,
  message: string,
  ...events: readonly CacheHistoryEvent[]
): CacheHistoryViolation => ({ rule, message, events });

function ledgerOf(events: Iterable<CacheHistoryEvent>): Ledger {
  const ledger: Ledger = {
    ...{ answers: [], acknowledged: new Map(), begun: new Map(), faults: [], malformed: [] },
  };
  const open = new Map<string, CacheReadEvent | CacheWriteEvent>();
  for (const event of Array.from(events).sort((one, other) => one.at - other.at)) {
    if (event.event === 'overflow') {
      ledger.malformed.push(violation('well-formed', 'the recorder had no room left', event));
    } else if (event.event === 'fault') ledger.faults.push(event);
    else if (event.event === 'read' || event.event === 'write') {
      open.set(nameOf(event), event);
      if (event.event !== 'write') continue;
      const version = versionKey(event.key, event.version);
      if (!ledger.begun.has(version)) ledger.begun.set(version, event.at);
    } else {
      const first = open.get(nameOf(event));
      open.delete(nameOf(event));
      if (!close(ledger, first, event)) {
        const message = `${event.event} of ${nameOf(event)}, which never began`;
        ledger.malformed.push(violation('well-formed', message, event));
      }
    }
  }
  return ledger;
}

const nameOf = (event: { readonly process: string; readonly operation: string }): string =>
  `${event.process}/${event.operation}`;
const versionKey = (key: string, version: number): string => `${version} ${key}`;
const ownKey = (process: string, key: string): string => `${process} ${key}`;

/** Joins an end with its beginning; false if that is of another kind. */
function close(
  ledger: Ledger,
  first: CacheReadEvent | CacheWriteEvent | undefined,
  event: Extract<CacheHistoryEvent, { readonly event: 'answer' | 'written' }>,
): boolean {
  if (first?.event === 'read' && event.event === 'answer') {
    ledger.answers.push({ read: first, answer: event });
    return true;
  }
  if (first?.event !== 'write' || event.event !== 'written') return false;
  if (event.outcome === 'failed') return true;
  for (const name of [` ${first.key}`, ownKey(first.process, first.key)]) {
    const before = ledger.acknowledged.get(name) ?? [];
    ledger.acknowledged.set(name, before);
    const newest = before.at(-1)?.newest;
    const isNewest = newest === undefined || newest.version < first.version;
    before.push({ atMs: event.at, write: first, newest: isNewest ? first : newest });
  }
  return true;
}

function judged(
  ledger: Ledger,
  { skewMs, settleMs }: { readonly skewMs: number; readonly settleMs: number },
  read: CacheReadEvent,
  answer: CacheAnswerEvent,
): readonly CacheHistoryViolation[] {
  const { key, process, at, stalenessMs } = read;
  const { version } = answer;
  if (answer.outcome !== 'value' || version === undefined) return [];
  const begunMs = ledger.begun.get(versionKey(key, version));
  const shown = `${nameOf(read)} was answered version ${version} of ${JSON.stringify(key)}`;
  // Version 0 is what there was before anybody wrote.
  if (version !== 0 && (begunMs === undefined || begunMs > answer.at + skewMs)) {
    return [violation('from-nowhere', `${shown}, whose commit had not begun`, read, answer)];
  }
  const stoodStillMs = ledger.faults
    .filter((fault) => fault.target === process && fault.at <= at && at <= fault.untilMs + settleMs)
    .reduce((sum, fault) => sum + fault.untilMs - fault.at, 0);
  const allowedMs = stalenessMs + stoodStillMs + skewMs;
  const newest = newestBefore(ledger.acknowledged.get(` ${key}`), at - allowedMs);
  if (newest !== undefined && newest.write.version > version) {
    const staleMs = (at - newest.atMs).toFixed(1);
    const message = `${shown}, ${staleMs} ms after version ${newest.write.version} was acknowledged; promised are ${allowedMs.toFixed(0)} ms`;
    return [violation('stale', message, newest.write, read, answer)];
  }
  const own = newestBefore(ledger.acknowledged.get(ownKey(process, key)), at);
  if (own === undefined || own.write.version <= version) return [];
  const message = `${shown} after its own version ${own.write.version} was acknowledged`;
  return [violation('own-write', message, own.write, read, answer)];
}

/** The write with the newest version that was acknowledged before a moment, and when. */
function newestBefore(
  acknowledged: readonly Acknowledged[] | undefined,
  beforeMs: number,
): { readonly atMs: number; readonly write: CacheWriteEvent } | undefined {
  if (acknowledged === undefined) return undefined;
  let [low, high] = [0, acknowledged.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((acknowledged[middle]?.atMs ?? 0) < beforeMs) low = middle + 1;
    else high = middle;
  }
  const newest = acknowledged[low - 1]?.newest;
  if (newest === undefined) return undefined;
  const first = acknowledged.find(({ write }) => write.version >= newest.version);
  return { atMs: first?.atMs ?? beforeMs, write: newest };
}
