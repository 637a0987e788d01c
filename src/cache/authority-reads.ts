import { type Instant, instantOf, type Validity } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import type { Answer, Found, ReadAnswer } from './authority.js';
import { UnreadableError } from './codec-error.js';
import { cacheUnreadable } from './diagnostics.js';
import type { CacheNode, LeaseTier, LocalValue, TierEntry } from './driver.js';
import type { Isolated } from './isolation.js';
import { fitting, type SchemaCheck } from './schema.js';
import type { TierCounter } from './stats.js';
import type { TagCalls } from './tag-calls.js';
import type { TierCalls } from './tier-calls.js';

/** What is left of an entry where nobody asked: it is kept nowhere else. */
const UNKNOWN_MS = Number.MAX_SAFE_INTEGER;
/** Where nobody asks for how long an entry is valid. */
const NEVER: Instant = { monotonicMs: 0, wallMs: 0 };

/** How values stand in a tier. */
export interface Form<Stored> {
  encode(value: Isolated): Stored;
  decode(where: () => string, stored: Stored, key: string): LocalValue;
  /** Drops what it remembers of what it decoded. */
  readonly forget?: (() => void) | undefined;
}

/** What the calls of a tier share. */
export interface Parts<Stored> {
  readonly node: CacheNode;
  readonly counter: TierCounter;
  readonly withRemaining: boolean;
  readonly tier: LeaseTier<Stored>;
  readonly form: Form<Stored>;
  readonly failed: TierCalls['failed'];
  readonly areCurrent: TagCalls['areCurrent'] | undefined;
  readonly check: SchemaCheck | undefined;
}

/** A finish that changes nothing. */
export const asItIs = (answer: Answer<ReadAnswer>): Answer<ReadAnswer> => answer;

const MISSING = { state: 'missing' } as const;
const OUTDATED = { state: 'outdated' } as const;

/**
 * Every read of a shared tier comes this way: one promise beside the tier's, without an async
 * function's own, and one look at the clocks if at all.
 */
export function read<Stored, Result>(
  parts: Parts<Stored>,
  request: ReadRequest,
  finish: (answer: Answer<ReadAnswer>) => Result,
): Promise<Result> {
  const { node, tier, withRemaining } = parts;
  const { key, timeoutMs } = request;
  const since = withRemaining ? instantOf(node.clock) : NEVER;
  const finished = (answer: MaybeLater<Answer<ReadAnswer>>): MaybeLater<Result> =>
    answer instanceof Promise ? answer.then(finish) : finish(answer);
  let reading: ReturnType<typeof tier.read>;
  try {
    reading = tier.read(key, { timeoutMs, withRemaining });
  } catch (error) {
    // Of a driver that is no async function; whoever asked would never end.
    reading = Promise.reject(error);
  }
  return reading.then(
    (entry) => finished(judged(parts, request, since, entry)),
    (error) => finished(failedRead(parts, request, error)),
  );
}

/** A read on behalf of a caller, or, not counted, for other reasons. */
export interface ReadRequest {
  readonly key: string;
  readonly timeoutMs: number;
  readonly isCounted: boolean;
}

type MaybeLater<Value> = Value | Promise<Value>;

function judged<Stored>(
  parts: Parts<Stored>,
  request: ReadRequest,
  since: Instant,
  entry: TierEntry<Stored> | undefined,
): MaybeLater<Answer<ReadAnswer>> {
  const { counter, withRemaining } = parts;
  if (entry === undefined) {
    if (request.isCounted) counter.missCount += 1;
    return MISSING;
  }
  try {
    const found = foundAt(parts, request.key, since, entry);
    if (found.state !== 'found') {
      if (request.isCounted) counter.missCount += 1;
      return found;
    }
    const { aging, tags } = found.local;
    const isPlain = (aging === undefined || withRemaining) && tags === undefined && !parts.check;
    if (!isPlain) {
      return readOn(parts, found, request).catch((error) => failedRead(parts, request, error));
    }
    if (request.isCounted) counter.hitCount += 1;
    return found;
  } catch (error) {
    return failedRead(parts, request, error);
  }
}

function failedRead<Stored>(
  parts: Parts<Stored>,
  { key, timeoutMs, isCounted }: ReadRequest,
  error: unknown,
): MaybeLater<Answer<ReadAnswer>> {
  if (isCounted) parts.counter.missCount += 1;
  const failure = parts.failed('read', key, error);
  return isCoordinationError(error, 'DATA_CORRUPT') ? discard(parts, key, timeoutMs) : failure;
}

/** The rest of a read for an entry with a note. */
async function readOn<Stored>(
  parts: Parts<Stored>,
  found: Found,
  request: ReadRequest,
): Promise<Answer<ReadAnswer>> {
  const { counter, withRemaining } = parts;
  const { key, timeoutMs, isCounted } = request;
  if (!withRemaining && found.local.aging !== undefined) {
    // Another node lets its entries age: how old this one is must be known after all.
    return read({ ...parts, withRemaining: true }, request, asItIs);
  }
  const checked = await unlessUnfit(parts, key, await unlessOutdated(parts, found, timeoutMs));
  if (isCounted && checked.state !== 'found') counter.missCount += 1;
  else if (isCounted) counter.hitCount += 1;
  return checked;
}

export async function touch<Stored>(
  parts: Parts<Stored>,
  demand: TierCalls['demand'],
  key: string,
  { ttlMs, timeoutMs }: { readonly ttlMs: number; readonly timeoutMs: number },
): Promise<boolean> {
  return demand('touch', key, timeoutMs, async (bounds) => {
    const entry = await parts.tier.touch(key, ttlMs, bounds);
    if (entry === undefined) return false;
    const found = foundAt(parts, key, NEVER, entry);
    const current = await unlessOutdated(parts, found, bounds.timeoutMs);
    return current.state === 'found' && !current.local.isAbsent;
  });
}

export async function unlessOutdated<Stored>(
  { areCurrent }: Parts<Stored>,
  found: Found | typeof OUTDATED,
  timeoutMs: number,
): Promise<Found | typeof OUTDATED> {
  if (found.state !== 'found') return found;
  const { tags } = found.local;
  if (tags === undefined || areCurrent === undefined) return found;
  return (await areCurrent(tags, timeoutMs)) ? found : OUTDATED;
}

/** An entry that does not fit the schema is outdated too: the next load takes its place. */
export async function unlessUnfit<Stored>(
  { check }: Parts<Stored>,
  key: string,
  answer: Found | typeof OUTDATED,
): Promise<Found | typeof OUTDATED> {
  if (check === undefined || answer.state !== 'found') return answer;
  const local = await fitting(check, key, answer.local);
  return local === undefined ? OUTDATED : { ...answer, local };
}

/** What nobody can read is no entry: it goes, so that the next load can take its place. */
async function discard<Stored>(
  { tier, failed }: Parts<Stored>,
  key: string,
  timeoutMs: number,
): Promise<Answer<typeof MISSING>> {
  try {
    await tier.invalidate(key, undefined, { timeoutMs });
    return MISSING;
  } catch (error) {
    return failed('invalidate', key, error);
  }
}

/** What stands in an entry; one that cannot be read is outdated: the next load takes its place. */
export function foundAt<Stored>(
  { node, counter, form }: Parts<Stored>,
  key: string,
  since: Validity['since'],
  entry: TierEntry<Stored>,
): Found | typeof OUTDATED {
  const where = () => `cache ${node.name}, key ${JSON.stringify(key)} in ${counter.backend},`;
  try {
    const local = form.decode(where, entry.stored, key);
    const validity = { since, forMs: entry.remainingMs ?? UNKNOWN_MS };
    return { state: 'found', local, validity, isHeld: entry.isHeld };
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    counter.unreadableCount += 1;
    const { unreadable } = error;
    const told = { cache: node.name, tier: counter.backend, key, ...unreadable };
    cacheUnreadable.publish(() => told);
    return OUTDATED;
  }
}
