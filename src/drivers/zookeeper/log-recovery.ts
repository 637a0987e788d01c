import { setMaxListeners } from 'node:events';
import { abortable, abortScope } from '../../core/abort.js';
import { parseTransactionId } from '../../core/ids.js';
import type {
  Acknowledgement,
  IncarnationStatus,
  StoredCommitRecord,
} from '../../transaction/decision-log.js';
import { errorOf } from './codes.js';
import { encodeHead, type HeadState, isOpen, type KeptRecord } from './log-format.js';
import { covers, openCountOf, withAcknowledgements, withoutExpired } from './log-head.js';
import { rewriteSegments } from './log-overflow.js';
import {
  isUnanswered,
  LIVE,
  type LogStore,
  nowOf,
  readAgain,
  readHead,
  readSegment,
  removeNode,
  type StoredHead,
  updateHead,
} from './log-store.js';

/** Heads that one call of prune looks at. */
const PRUNED_PER_CALL = 100;

/**
 * Fences an incarnation: a versioned write that keeps its decisions, so that either a decision's write
 * or the fence is first, and the other one fails. One that never registered gets a head that is
 * fenced from the start, so that a late registration finds the name taken.
 */
export async function fenceIncarnation(
  store: LogStore,
  incarnation: string,
  signal?: AbortSignal,
): Promise<void> {
  const nowMs = Math.round(await nowOf(store, signal));
  for (;;) {
    const fenced = await updateHead(
      store,
      incarnation,
      ({ head }) => {
        if (head.fencedAtMs !== undefined) return undefined;
        return { ...head, fencedAtMs: nowMs, writeId: store.connection.random.token(11) };
      },
      signal,
    );
    if (fenced !== undefined) break;
    await createTombstone(store, incarnation, nowMs, signal);
  }
  // A hint for its owner, and for whoever lists it.
  const path = `${store.pathOf(incarnation)}/${LIVE}`;
  await readAgain(store, `remove ${path}`, signal, ({ ask }) => ask.remove(path));
}

async function createTombstone(
  store: LogStore,
  incarnation: string,
  fencedAtMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const writeId = store.connection.random.token(11);
  const head: HeadState = { nodeId: '', writeId, fencedAtMs, records: [], segments: [] };
  await createHead(store, incarnation, head, signal);
}

/** Creates the head of an incarnation. `'exists'` also when it was this call that created it. */
export async function createHead(
  store: LogStore,
  incarnation: string,
  head: HeadState,
  signal?: AbortSignal,
): Promise<'created' | 'exists'> {
  const { connection, base } = store;
  const operation = `create ${store.pathOf(incarnation)}`;
  for (;;) {
    const live = await connection.current(operation, { signal });
    const path = store.pathOf(incarnation);
    const creating = connection.createPersistent(live, path, encodeHead(head));
    const created = await abortable(creating, signal);
    if (created.ok) return 'created';
    if (created.kind === 'exists') return 'exists';
    if (created.kind === 'no-node') await abortable(connection.ensure(live, base), signal);
    else if (!isUnanswered(created)) throw errorOf(created, operation);
  }
}

/** The record of a transaction, wherever it stands. */
export async function findRecord(
  store: LogStore,
  transactionId: string,
  signal?: AbortSignal,
): Promise<StoredCommitRecord | undefined> {
  const incarnation = parseTransactionId(transactionId)?.incarnation;
  const stored = incarnation && (await readHead(store, incarnation, signal));
  if (!incarnation || !stored) return undefined;
  const isThis = ({ record }: KeptRecord): boolean => record.transactionId === transactionId;
  let found = stored.head.records.find(isThis);
  for (const segment of stored.head.segments) {
    if (found !== undefined) break;
    if (!covers(segment, transactionId)) continue;
    found = (await readSegment(store, incarnation, segment, signal)).find(isThis);
  }
  return found && shown(found, await nowOf(store, signal));
}

/** The unacknowledged records of an incarnation, oldest first. */
export async function openRecords(
  store: LogStore,
  incarnation: string,
  limit: number,
  signal?: AbortSignal,
): Promise<readonly StoredCommitRecord[]> {
  const stored = await readHead(store, incarnation, signal);
  if (stored === undefined) return [];
  const records: KeptRecord[] = [];
  for (const segment of stored.head.segments.filter(({ openCount }) => openCount > 0)) {
    if (records.length >= limit) break;
    const inside = await readSegment(store, incarnation, segment, signal);
    records.push(...inside.filter(isOpen));
  }
  records.push(...stored.head.records.filter(isOpen));
  const nowMs = await nowOf(store, signal);
  return records
    .sort((one, other) => one.decidedAtMs - other.decidedAtMs)
    .slice(0, limit)
    .map((kept) => shown(kept, nowMs));
}

function shown({ record, unacknowledged, decidedAtMs }: KeptRecord, nowMs: number) {
  return { ...record, unacknowledged, ageMs: Math.max(0, nowMs - decidedAtMs) };
}

/** Every incarnation that can decide or has records. */
export async function listIncarnations(
  store: LogStore,
  signal?: AbortSignal,
): Promise<readonly IncarnationStatus[]> {
  const names = await incarnationNames(store, signal);
  using scope = abortScope({ clock: store.connection.clock, parents: [signal] });
  // Each head listens to it.
  setMaxListeners(0, scope.signal);
  const listed = await Promise.all(
    names.map(async (incarnation): Promise<IncarnationStatus | undefined> => {
      const stored = await readHead(store, incarnation, scope.signal);
      if (stored === undefined || isForgotten(stored)) return undefined;
      const { nodeId, fencedAtMs } = stored.head;
      const unacknowledgedCount = openCountOf(stored.head);
      const open = (await isLive(store, incarnation, scope.signal)) ? 'live' : 'silent';
      const state = fencedAtMs === undefined ? open : 'fenced';
      return { incarnation, nodeId, state, unacknowledgedCount };
    }),
  );
  return listed.filter((status) => status !== undefined);
}

async function incarnationNames(store: LogStore, signal?: AbortSignal): Promise<readonly string[]> {
  const { base } = store;
  const listed = await readAgain(store, `list ${base}`, signal, async ({ ask }) => {
    const [synced, reply] = await Promise.all([ask.sync(base), ask.children(base)]);
    return synced.ok ? reply : synced;
  });
  return listed?.names ?? [];
}

async function isLive(
  store: LogStore,
  incarnation: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const path = `${store.pathOf(incarnation)}/${LIVE}`;
  const stat = await readAgain(store, `read ${path}`, signal, ({ ask }) => ask.exists(path));
  return stat !== undefined;
}

/** A fence without records stays only so that a late step of its owner finds it. */
function isForgotten({ head }: StoredHead): boolean {
  const isEmpty = head.records.length === 0 && head.segments.length === 0;
  return head.fencedAtMs !== undefined && isEmpty;
}

/** Notes acknowledgements of an incarnation that this process does not own. */
export async function acknowledgeElsewhere(
  store: LogStore,
  incarnation: string,
  acknowledgements: readonly Acknowledgement[],
  signal?: AbortSignal,
): Promise<void> {
  const nowMs = await nowOf(store, signal);
  const noted = new Map<string, Set<string>>();
  for (const { transactionId, participant } of acknowledgements) {
    noted.set(transactionId, (noted.get(transactionId) ?? new Set()).add(participant));
  }
  const stored = await readHead(store, incarnation, signal);
  if (stored === undefined) return;
  const live = await store.connection.current('acknowledge', { signal });
  const { segments } = await rewriteSegments(
    { store, live, incarnation },
    stored.head,
    noted,
    nowMs,
  );
  const rewritten = new Map(segments.map((segment) => [segment.name, segment]));
  const change = ({ head }: StoredHead): HeadState | undefined => {
    const records = withAcknowledgements(head.records, noted, nowMs);
    const after = head.segments.map((segment) => rewritten.get(segment.name) ?? segment);
    const isSame = after.every((segment, index) => {
      return segment.openCount === head.segments[index]?.openCount;
    });
    if (records === head.records && isSame) return undefined;
    return { ...head, records, segments: after, writeId: store.connection.random.token(11) };
  };
  await updateHead(store, incarnation, change, signal);
}

/**
 * Forgets, of incarnations that decide no more, what is past its retention, and fences those that
 * were silent and idle for as long. What owners have in their heads, they forget themselves.
 */
export async function pruneIncarnations(
  store: LogStore,
  recordRetainMs: number,
  isOwn: (incarnation: string) => boolean,
  signal?: AbortSignal,
): Promise<void> {
  const nowMs = await nowOf(store, signal);
  const names = (await incarnationNames(store, signal)).filter((name) => !isOwn(name));
  for (const incarnation of sample(names, store)) {
    const stored = await readHead(store, incarnation, signal);
    if (stored === undefined) continue;
    const { head, writtenAtMs } = stored;
    if (head.fencedAtMs !== undefined) {
      await pruneFenced(store, incarnation, stored, { nowMs, recordRetainMs, signal });
      continue;
    }
    const isIdle = openCountOf(head) === 0 && nowMs - writtenAtMs >= recordRetainMs;
    const isSilent = isIdle && !(await isLive(store, incarnation, signal));
    if (isSilent) await fenceIncarnation(store, incarnation, signal);
  }
}

/** A bounded part of the incarnations, another one each time. */
function sample(names: readonly string[], { connection }: LogStore): readonly string[] {
  const start = Math.floor(connection.random.fraction() * names.length);
  return [...names.slice(start), ...names.slice(0, start)].slice(0, PRUNED_PER_CALL);
}

async function pruneFenced(
  store: LogStore,
  incarnation: string,
  { head, version }: StoredHead,
  limits: {
    readonly nowMs: number;
    readonly recordRetainMs: number;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<void> {
  const { nowMs, recordRetainMs, signal } = limits;
  const path = store.pathOf(incarnation);
  const live = await store.connection.current(`prune ${path}`, { signal });
  const kept = withoutExpired(head, nowMs, recordRetainMs);
  if (kept.head !== head) {
    const written = await live.ask.set(path, encodeHead(kept.head), version);
    if (!written.ok) return;
    for (const { name } of kept.dropped) await removeNode(live, `${path}/${name}`);
    return;
  }
  const isEmpty = head.records.length === 0 && head.segments.length === 0;
  if (!isEmpty || nowMs - (head.fencedAtMs ?? nowMs) < recordRetainMs) return;
  // Copies that no head referred to go with it.
  const children = await live.ask.children(path);
  if (!children.ok) return;
  for (const name of children.value.names) await removeNode(live, `${path}/${name}`);
  await live.ask.remove(path, version);
}
