import { expectOk } from './codes.js';
import type { LiveSession } from './live-session.js';
import { encodeSegment, type HeadState, referenceTo } from './log-format.js';
import { type Acknowledgements, covers, recordsToMove, withAcknowledgements } from './log-head.js';
import { type LogStore, readSegment } from './log-store.js';
import { ANY_VERSION } from './requests.js';

/** Whose overflow znodes, and in which session they are written. */
export interface OverflowTarget {
  readonly store: LogStore;
  readonly live: LiveSession;
  readonly incarnation: string;
}

/** Moves need at most so many overflow znodes: each takes at least half of what is left. */
const MOVES_MAX = 20;

/**
 * The head with room for a record of so many bytes. What must leave is written to an overflow znode
 * *before* the head that no longer has it: a crash in between leaves a copy that nobody refers to.
 */
export async function makeRoom(
  { store, live, incarnation }: OverflowTarget,
  head: HeadState,
  incomingBytes: number,
): Promise<HeadState> {
  let roomy = head;
  for (let move = 0; move < MOVES_MAX; move += 1) {
    const moving = recordsToMove(roomy.records, incomingBytes);
    if (moving.length === 0) return roomy;
    const name = `s-${store.connection.random.token(11)}`;
    const path = `${store.pathOf(incarnation)}/${name}`;
    const created = await store.connection.createPersistent(live, path, encodeSegment(moving));
    expectOk(created, `write ${path}`);
    const moved = new Set(moving);
    const records = roomy.records.filter((kept) => !moved.has(kept));
    roomy = { ...roomy, records, segments: [...roomy.segments, referenceTo(name, moving)] };
  }
  return roomy;
}

/**
 * Writes acknowledgements of records that have left the head into their overflow znodes, and answers
 * the head with what it must know of that. Two writers at once lose an acknowledgement at worst,
 * which costs a repeated commit.
 */
export async function rewriteSegments(
  { store, live, incarnation }: OverflowTarget,
  head: HeadState,
  acknowledgements: Acknowledgements,
  nowMs: number,
): Promise<HeadState> {
  let rewritten = head;
  const ids = [...acknowledgements.keys()];
  for (const segment of head.segments) {
    if (segment.openCount === 0 || !ids.some((id) => covers(segment, id))) continue;
    const before = await readSegment(store, incarnation, segment);
    const after = withAcknowledgements(before, acknowledgements, nowMs);
    if (after === before) continue;
    const path = `${store.pathOf(incarnation)}/${segment.name}`;
    expectOk(await live.ask.set(path, encodeSegment(after), ANY_VERSION), `write ${path}`);
    const reference = referenceTo(segment.name, after);
    const segments = rewritten.segments.map((each) => (each === segment ? reference : each));
    rewritten = { ...rewritten, segments };
  }
  return rewritten;
}
