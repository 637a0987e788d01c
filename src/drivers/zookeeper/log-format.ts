import { CoordinationError } from '../../core/errors.js';
import type { TransactionId } from '../../core/ids.js';
import type { CommitRecord } from '../../transaction/decision-log.js';

/** A commit record with what became of it. Immutable: changes make another. */
export interface KeptRecord {
  readonly record: CommitRecord;
  /** By the leader's clock, in milliseconds since 1970. */
  readonly decidedAtMs: number;
  /** Participants that have not acknowledged. */
  readonly unacknowledged: readonly string[];
  /** When the last of them did, by the leader's clock. */
  readonly acknowledgedAtMs?: number | undefined;
  /** Remembers what it is stored as; a changed record has another one. */
  readonly memo?: { stored?: StoredText };
}

/** What a record is stored as. */
interface StoredText {
  readonly text: string;
  readonly bytes: number;
}

/** Where records that left the head are: an overflow znode, with what finds them. */
export interface SegmentReference {
  readonly name: string;
  /** The least and the greatest transaction id inside, as text. */
  readonly first: string;
  readonly last: string;
  /** How many of its records are unacknowledged, as of the head's last write. */
  readonly openCount: number;
  /** When the newest acknowledgement inside came; undefined while `openCount` is not 0. */
  readonly acknowledgedAtMs?: number | undefined;
}

/** What the znode of an incarnation holds. */
export interface HeadState {
  /** Empty for an incarnation that was fenced before it registered. */
  readonly nodeId: string;
  /** Names the write, so that its writer recognises it after a lost answer. */
  readonly writeId: string;
  /** Since when it decides no more, by the leader's clock; undefined while it may. */
  readonly fencedAtMs?: number | undefined;
  readonly records: readonly KeptRecord[];
  readonly segments: readonly SegmentReference[];
}

/** ZooKeeper is built for small nodes: a head is at most this large, save for one large record. */
export const HEAD_BYTES_MAX: number = 64 * 1_024;
/** 2: a branch's id without the transaction's, and `u` only where somebody has acknowledged. */
const VERSION = 2;

/** A record as stored: `t` id, `r` resource, `n` node, `b` branches, `d` decided, `u` open, `a` acknowledged, `k` key. */
interface StoredRecord {
  readonly t: string;
  readonly r: string;
  readonly n: string;
  readonly b: readonly (readonly [participant: string, branchId: string, evidence: string])[];
  readonly d: number;
  readonly u?: readonly string[] | undefined;
  readonly a?: number | undefined;
  readonly k?: string | undefined;
}

/** Writes a head. */
export function encodeHead(head: HeadState): Buffer {
  const { nodeId, writeId, fencedAtMs, records, segments } = head;
  const facts = JSON.stringify({ v: VERSION, nodeId, writeId, fencedAtMs, segments });
  return Buffer.from(`${facts.slice(0, -1)},"records":[${joined(records)}]}`);
}

/** Writes an overflow znode. */
export function encodeSegment(records: readonly KeptRecord[]): Buffer {
  return Buffer.from(`{"v":${VERSION},"records":[${joined(records)}]}`);
}

/** Reads a head; UPGRADE_NEEDED for a newer format, DATA_CORRUPT for anything else. */
export function decodeHead(data: Buffer, where: string): HeadState {
  const stored = parsed(data, where);
  const { nodeId, writeId, fencedAtMs, segments } = stored as unknown as HeadState;
  if (typeof nodeId !== 'string' || !Array.isArray(segments)) throw corruptError(data, where);
  return { nodeId, writeId, fencedAtMs, segments, records: recordsOf(stored, data, where) };
}

/** Reads an overflow znode. */
export function decodeSegment(data: Buffer, where: string): readonly KeptRecord[] {
  return recordsOf(parsed(data, where), data, where);
}

/** Who holds the key of a transaction, as stored. */
export interface KeyState {
  readonly transactionId: string;
  /** By the leader's clock, in milliseconds since 1970. */
  readonly reservedAtMs: number;
  readonly committedAtMs?: number | undefined;
}

/** Writes the znode of a key. */
export function encodeKey(state: KeyState): Buffer {
  return Buffer.from(JSON.stringify({ v: VERSION, ...state }));
}

/** Reads the znode of a key. */
export function decodeKey(data: Buffer, where: string): KeyState {
  const { transactionId, reservedAtMs, committedAtMs } = parsed(data, where) as unknown as KeyState;
  if (typeof transactionId !== 'string') throw corruptError(data, where);
  return { transactionId, reservedAtMs, committedAtMs };
}

/** How many bytes a record takes. */
export function recordBytes(kept: KeptRecord): number {
  return textOf(kept).bytes + 1;
}

/** A reference to an overflow znode that holds these records. */
export function referenceTo(name: string, records: readonly KeptRecord[]): SegmentReference {
  const ids = records.map(({ record }) => record.transactionId as string).sort();
  const openCount = records.filter(isOpen).length;
  const newest = Math.max(...records.map((kept) => kept.acknowledgedAtMs ?? 0));
  const acknowledgedAtMs = openCount === 0 ? newest : undefined;
  return { name, first: ids[0] ?? '', last: ids.at(-1) ?? '', openCount, acknowledgedAtMs };
}

/** Whether a participant has still to acknowledge. */
export function isOpen(kept: KeptRecord): boolean {
  return kept.unacknowledged.length > 0;
}

/** The record after acknowledgements of these participants; the same object when they are not news. */
export function acknowledged(
  kept: KeptRecord,
  participants: ReadonlySet<string>,
  nowMs: number,
): KeptRecord {
  const unacknowledged = kept.unacknowledged.filter((name) => !participants.has(name));
  if (unacknowledged.length === kept.unacknowledged.length) return kept;
  const acknowledgedAtMs = unacknowledged.length === 0 ? Math.round(nowMs) : undefined;
  return { ...kept, unacknowledged, acknowledgedAtMs, memo: {} };
}

/** A record is written with every head that it is in, and never changes: it is made a text once. */
function textOf(kept: KeptRecord): StoredText {
  if (kept.memo?.stored !== undefined) return kept.memo.stored;
  const text = JSON.stringify(storedOf(kept));
  const stored = { text, bytes: Buffer.byteLength(text) };
  if (kept.memo !== undefined) kept.memo.stored = stored;
  return stored;
}

function joined(records: readonly KeptRecord[]): string {
  return records.map((kept) => textOf(kept).text).join(',');
}

function storedOf(kept: KeptRecord): StoredRecord {
  const { transactionId, resourceId, nodeId, branches, key } = kept.record;
  const names = new Set(branches.map(({ participant }) => participant));
  const isUntouched = kept.unacknowledged.length === names.size;
  return {
    t: transactionId,
    r: resourceId,
    n: nodeId,
    b: branches.map(({ participant, branchId, evidence }) => [
      participant,
      branchId.startsWith(`${transactionId}.`) ? branchId.slice(transactionId.length) : branchId,
      evidence,
    ]),
    d: kept.decidedAtMs,
    u: isUntouched ? undefined : kept.unacknowledged,
    a: kept.acknowledgedAtMs,
    k: key,
  };
}

function keptOf({ t, r, n, b, d, u, a, k }: StoredRecord): KeptRecord {
  const branches = b.map(([participant, branch, evidence]) => ({
    participant,
    // No branch's own id begins with a dot.
    branchId: branch.startsWith('.') ? `${t}${branch}` : branch,
    evidence,
  }));
  const facts = { transactionId: t as TransactionId, resourceId: r, nodeId: n, branches };
  const record = k === undefined ? facts : { ...facts, key: k };
  const unacknowledged = u ?? [...new Set(branches.map(({ participant }) => participant))];
  return { record, decidedAtMs: d, unacknowledged, acknowledgedAtMs: a };
}

function recordsOf(
  stored: Record<string, unknown>,
  data: Buffer,
  where: string,
): readonly KeptRecord[] {
  const { records } = stored;
  if (!Array.isArray(records)) throw corruptError(data, where);
  return (records as readonly StoredRecord[]).map(keptOf);
}

function parsed(data: Buffer, where: string): Record<string, unknown> {
  let stored: unknown;
  try {
    stored = JSON.parse(data.toString('utf8'));
  } catch {
    throw corruptError(data, where);
  }
  const version = (stored as { readonly v?: unknown } | null)?.v;
  if (typeof version !== 'number') throw corruptError(data, where);
  if (version <= VERSION) return stored as Record<string, unknown>;
  const [found, supported] = [String(version), String(VERSION)];
  throw new CoordinationError(
    'UPGRADE_NEEDED',
    `${where} has format ${found}; this release reads up to ${supported}: upgrade this node`,
    { where, found, supported },
  );
}

function corruptError(data: Buffer, where: string): CoordinationError<'DATA_CORRUPT'> {
  const found = data.toString('utf8', 0, 80);
  return new CoordinationError('DATA_CORRUPT', `${where} does not hold commit decisions`, {
    where,
    found,
  });
}
