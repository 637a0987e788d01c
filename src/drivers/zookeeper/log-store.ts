import { abortable, sleep, throwIfAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { isCoordinationError } from '../../core/errors.js';
import { errorOf, expectOk, type Failure, type Reply } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import {
  decodeHead,
  decodeSegment,
  encodeHead,
  type HeadState,
  type KeptRecord,
  type SegmentReference,
} from './log-format.js';

/** A head with the version that the next write must name. */
export interface StoredHead {
  readonly head: HeadState;
  readonly version: number;
  /** When it was last written, by the leader's clock, in milliseconds. */
  readonly writtenAtMs: number;
}

/** Where one log's incarnations are stored. */
export interface LogStore {
  readonly connection: Connection;
  /** The parent of the heads, and the index of incarnations. */
  readonly base: string;
  pathOf(incarnation: string): string;
}

/** The child of a head that lives as long as its owner's session. */
export const LIVE = 'live';
const UNANSWERED: ReadonlySet<string> = new Set(['RESULT_UNKNOWN', 'BACKEND_UNAVAILABLE']);
const BACKOFF = { baseMs: 20, maxMs: 500 };

/** The store of a log in one namespace. */
export function logStore(connection: Connection, authority: string, namespace: string): LogStore {
  const base = `${connection.root}/transactions/${authority}/${namespace}`;
  return { connection, base, pathOf: (incarnation) => `${base}/${incarnation}` };
}

/** Runs a read until it is answered, in whatever session; rejects on any other failure. */
export async function readAgain<T>(
  store: LogStore,
  operation: string,
  signal: AbortSignal | undefined,
  read: (live: LiveSession) => Promise<Reply<T>>,
): Promise<T | undefined> {
  for (let attempt = 0; ; attempt += 1) {
    const live = await store.connection.current(operation, { signal });
    const reply = await abortable(read(live), signal);
    if (reply.ok) return reply.value;
    if (reply.kind === 'no-node') return undefined;
    if (!isUnanswered(reply)) throw errorOf(reply, operation);
    await sleep(store.connection.clock, backoffMs(attempt, BACKOFF, store.connection.random), {
      signal,
    });
  }
}

/** Whether a request has to be sent again, or looked after. */
export function isUnanswered(failure: Failure): boolean {
  return failure.kind === 'unknown' || failure.kind === 'unsent';
}

/** The head of an incarnation, as of now: what was written before is seen. */
export async function readHead(
  store: LogStore,
  incarnation: string,
  signal?: AbortSignal,
): Promise<StoredHead | undefined> {
  const path = store.pathOf(incarnation);
  const node = await readAgain(store, `read ${path}`, signal, async ({ ask }) => {
    const [synced, reply] = await Promise.all([ask.sync(path), ask.get(path)]);
    return synced.ok ? reply : synced;
  });
  if (node === undefined) return undefined;
  const { version, mtime } = node.stat;
  return { head: decodeHead(node.data, path), version, writtenAtMs: mtime.getTime() };
}

/** The records of an overflow znode; none when it has been forgotten meanwhile. */
export async function readSegment(
  store: LogStore,
  incarnation: string,
  { name }: SegmentReference,
  signal?: AbortSignal,
): Promise<readonly KeptRecord[]> {
  const path = `${store.pathOf(incarnation)}/${name}`;
  const node = await readAgain(store, `read ${path}`, signal, ({ ask }) => ask.get(path));
  return node === undefined ? [] : decodeSegment(node.data, path);
}

/**
 * Changes a head by versioned writes until one succeeds; `change` answers undefined when nothing is to
 * be done. An answer that was lost is resolved by reading again. Answers what is stored at the end.
 */
export async function updateHead(
  store: LogStore,
  incarnation: string,
  change: (stored: StoredHead) => HeadState | undefined,
  signal?: AbortSignal,
): Promise<StoredHead | undefined> {
  const path = store.pathOf(incarnation);
  for (;;) {
    throwIfAborted(signal);
    const stored = await readHead(store, incarnation, signal);
    const changed = stored === undefined ? undefined : change(stored);
    if (stored === undefined || changed === undefined) return stored;
    const live = await store.connection.current(`write ${path}`, { signal });
    const written = await abortable(
      live.ask.set(path, encodeHead(changed), stored.version),
      signal,
    );
    if (written.ok) {
      store.connection.noteServerTime(written.value);
      const { version, mtime } = written.value;
      return { head: changed, version, writtenAtMs: mtime.getTime() };
    }
    const isRaced = written.kind === 'bad-version' || written.kind === 'no-node';
    if (!isRaced && !isUnanswered(written)) throw errorOf(written, `write ${path}`);
  }
}

/** The leader's clock, for ages. */
export async function nowOf(store: LogStore, signal?: AbortSignal): Promise<number> {
  const operation = 'read the server’s clock';
  for (;;) {
    const live = await store.connection.current(operation, { signal });
    const reading = store.connection.serverTimeMs(live).catch((error: unknown) => {
      if (!isCoordinationError(error) || !UNANSWERED.has(error.code)) throw error;
    });
    const nowMs = await abortable(reading, signal);
    if (nowMs !== undefined) return nowMs;
    await sleep(store.connection.clock, BACKOFF.baseMs, { signal });
  }
}

/** Removes a znode; one that is not there is as good as removed. */
export async function removeNode(live: LiveSession, path: string): Promise<void> {
  const removed = await live.ask.remove(path);
  if (!removed.ok && removed.kind !== 'no-node') expectOk(removed, `remove ${path}`);
}
