import {
  acknowledged,
  HEAD_BYTES_MAX,
  type HeadState,
  isOpen,
  type KeptRecord,
  recordBytes,
  type SegmentReference,
} from './log-format.js';

/** Acknowledgements that have not been written: participants by transaction. */
export type Acknowledgements = ReadonlyMap<string, ReadonlySet<string>>;

/** Acknowledged records leave the head together when they take so much of it. */
const ACKNOWLEDGED_BYTES_MAX = HEAD_BYTES_MAX / 4;
/** Overflow znodes of acknowledged records that are kept; past that the oldest go early. */
const RETAINED_SEGMENTS_MAX = 128;

/** The records after acknowledgements; the same array when none is news. */
export function withAcknowledgements(
  records: readonly KeptRecord[],
  acknowledgements: Acknowledgements,
  nowMs: number,
): readonly KeptRecord[] {
  let isChanged = false;
  const changed = records.map((kept) => {
    const participants = acknowledgements.get(kept.record.transactionId);
    const after = participants === undefined ? kept : acknowledged(kept, participants, nowMs);
    isChanged ||= after !== kept;
    return after;
  });
  return isChanged ? changed : records;
}

/** What is forgotten now, and the head without it; the same head when that is nothing. */
export function withoutExpired(
  head: HeadState,
  nowMs: number,
  recordRetainMs: number,
): { readonly head: HeadState; readonly dropped: readonly SegmentReference[] } {
  const isExpired = (atMs: number | undefined): boolean =>
    atMs !== undefined && nowMs - atMs >= recordRetainMs;
  const records = head.records.filter((kept) => !isExpired(kept.acknowledgedAtMs));
  const retained = head.segments.filter(({ openCount }) => openCount === 0);
  const tooMany = retained.slice(0, Math.max(0, retained.length - RETAINED_SEGMENTS_MAX));
  const dropped = head.segments.filter(
    (segment) => isExpired(segment.acknowledgedAtMs) || tooMany.includes(segment),
  );
  const isSame = records.length === head.records.length && dropped.length === 0;
  if (isSame) return { head, dropped };
  const segments = head.segments.filter((segment) => !dropped.includes(segment));
  return { head: { ...head, records, segments }, dropped };
}

/**
 * Which records must leave the head for an overflow znode before another one of `incomingBytes` fits;
 * empty when there is room. Acknowledged ones first, then the older half of the others.
 */
export function recordsToMove(
  records: readonly KeptRecord[],
  incomingBytes: number,
): readonly KeptRecord[] {
  const bytesOf = (some: readonly KeptRecord[]): number =>
    some.reduce((sum, kept) => sum + recordBytes(kept), 0);
  const done = records.filter((kept) => !isOpen(kept));
  if (bytesOf(done) > ACKNOWLEDGED_BYTES_MAX) return done;
  if (bytesOf(records) + incomingBytes <= HEAD_BYTES_MAX || records.length === 0) return [];
  return records.slice(0, Math.ceil(records.length / 2));
}

/** How many of the incoming records fit into a head with these; at least one. */
export function countThatFits(
  records: readonly KeptRecord[],
  incoming: readonly KeptRecord[],
): number {
  let leftBytes = HEAD_BYTES_MAX - records.reduce((sum, kept) => sum + recordBytes(kept), 0);
  const overflow = incoming.findIndex((kept) => {
    leftBytes -= recordBytes(kept);
    return leftBytes < 0;
  });
  return overflow === -1 ? incoming.length : Math.max(1, overflow);
}

/** Whether an overflow znode may hold a transaction. */
export function covers({ first, last }: SegmentReference, transactionId: string): boolean {
  return first <= transactionId && transactionId <= last;
}

/** How many records are unacknowledged. */
export function openCountOf({ records, segments }: HeadState): number {
  const inSegments = segments.reduce((sum, { openCount }) => sum + openCount, 0);
  return inSegments + records.filter(isOpen).length;
}
