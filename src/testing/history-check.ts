import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { assertNumber } from '../core/validate.js';
import type { HistoryEvent, HistoryStamp, HistoryViolation } from './history.js';
import { heldPastDeadline, noOrphan } from './history-rules-end.js';
import { falseRelease, fenceMonotone, mutualExclusion } from './history-rules-hold.js';
import { firstComeFirstServed, noLostWakeUp } from './history-rules-line.js';
import { type Bounds, type Rule, timelineOf } from './history-spans.js';

/** Options of {@link checkHistory}. */
export interface CheckHistoryOptions {
  /**
   * `exclusion` (the default): certain holds never overlap. `fence`, for a backend that lost its
   * data: they may, if the newer one has the higher token; a fenced resource then refuses the older.
   */
  readonly guarantee?: 'exclusion' | 'fence' | undefined;
  /** How far apart the clocks of the recording machines may be, in milliseconds. Default 0: one machine. */
  readonly skewMs?: number | undefined;
  /** How long a request may take to stand in line, and an answer to be noticed. Default 500. */
  readonly settleMs?: number | undefined;
  /** How long at most a waiter may leave a free resource alone, in milliseconds. Default 3,000. */
  readonly wakeUpMsMax?: number | undefined;
  /** The locks' `localHandoffs`. Default 16. */
  readonly localHandoffs?: number | undefined;
  /** The locks' `ttlMs`, for requests that name none, in milliseconds. Default 30,000. */
  readonly ttlMs?: number | undefined;
  /** How many violations are told at most. Default 1,000. */
  readonly violationsMax?: number | undefined;
}

const RULES: readonly Rule[] = [
  mutualExclusion,
  fenceMonotone,
  falseRelease,
  heldPastDeadline,
  noOrphan,
  firstComeFirstServed,
  noLostWakeUp,
];

/**
 * Judges what `recordHistory` wrote; answers what it violates, nothing for a correct lock.
 *
 * The rules: mutual exclusion modulo fence (exclusive, shared and counting); tokens of exclusive
 * leases increase strictly, and a reader's lies between its writers'; first come, first served, within
 * the bound for hand-over inside a node; no lost wake-up; nothing left after the end; no lease held
 * past its deadline; no release that tells `released` of a lease which another had followed. Order and
 * wake-ups are judged only of waits that no recorded fault touched; the rest always. A violation is
 * never a matter of scheduling: only what a lease certainly claimed at a stamp counts.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a bad option.
 */
export function checkHistory(
  events: Iterable<HistoryEvent>,
  options: CheckHistoryOptions = {},
): HistoryViolation[] {
  const { violationsMax = 1_000 } = options;
  const bounds: Bounds = {
    guarantee: options.guarantee ?? 'exclusion',
    skewMs: options.skewMs ?? 0,
    settleMs: options.settleMs ?? 500,
    wakeUpMsMax: options.wakeUpMsMax ?? 3_000,
    localHandoffs: options.localHandoffs ?? 16,
    ttlMs: options.ttlMs ?? 30_000,
  };
  const { guarantee: _, ...numbers } = bounds;
  for (const [name, value] of Object.entries(numbers)) assertNumber(name, value, { min: 0 });
  assertNumber('violationsMax', violationsMax, { min: 1, integer: true });
  const timeline = timelineOf(events);
  const violations = [...timeline.malformed];
  for (const rule of RULES) {
    for (const violation of rule(timeline, bounds)) {
      if (violations.length >= violationsMax) return violations.slice(0, violationsMax);
      violations.push(violation);
    }
  }
  return violations.slice(0, violationsMax);
}

/**
 * Reads a history that `recordHistory` wrote to a file. A last line that a killed process did not
 * finish is left out.
 *
 * @throws SyntaxError with the number of a line that is no event.
 */
export async function readHistory(file: string): Promise<HistoryEvent[]> {
  return readEvents<HistoryEvent>(file);
}

/** The same for histories of any kind. */
export async function readEvents<Event extends HistoryStamp>(file: string): Promise<Event[]> {
  const events: Event[] = [];
  let broken: SyntaxError | undefined;
  let number = 0;
  for await (const line of createInterface({
    input: createReadStream(file),
    crlfDelay: Infinity,
  })) {
    number += 1;
    if (broken !== undefined) throw broken;
    if (line === '') continue;
    const event = parse<Event>(line);
    if (event !== undefined) events.push(event);
    else broken = new SyntaxError(`line ${number} of ${file} is no event: ${line.slice(0, 80)}`);
  }
  return events;
}

function parse<Event>(line: string): Event | undefined {
  try {
    const event: unknown = JSON.parse(line);
    const { at, event: kind } = event as HistoryEvent;
    return typeof at === 'number' && typeof kind === 'string' ? (event as Event) : undefined;
  } catch {
    return undefined;
  }
}
