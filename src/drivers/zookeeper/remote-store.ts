import { abortable, sleep, throwIfAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { CallKey, CallRecord } from '../../transaction/remote/call-record.js';
import { CREATE } from './client.js';
import { errorOf } from './codes.js';
import type { Connection } from './connection.js';
import { isUnanswered, readAgain } from './log-store.js';
import { encodeName } from './names.js';
import { decodeCall, encodeCall } from './remote-record.js';
import type { RemoteWatches } from './remote-watches.js';

/** A call with the version that the next write must name. */
export interface StoredCall {
  readonly record: CallRecord;
  readonly version: number;
}

/** The znodes of the calls of one namespace: `‹root›/calls/‹log›/‹namespace›/‹service›/open/‹call›`. */
export interface RemoteStore {
  readonly connection: Connection;
  /** The parent of a service's calls, and of the servers that serve it. */
  callsOf(service: string): string;
  serversOf(service: string): string;
  pathOf(key: CallKey): string;
  /** `isSynced`: this session's server is known to have what is asked for, so that it need not catch up. */
  read(key: CallKey, signal?: AbortSignal, isSynced?: boolean): Promise<StoredCall | undefined>;
  /** Creates the record unless one is there; answers what stands there then. */
  create(record: CallRecord, signal?: AbortSignal): Promise<CallRecord>;
  /** As of `CallSession`. */
  replace(
    record: CallRecord,
    replaces: string,
    signal?: AbortSignal,
  ): Promise<StoredCall | undefined>;
  remove(record: CallRecord, signal?: AbortSignal): Promise<void>;
}

const BACKOFF = { baseMs: 20, maxMs: 500 };
/** Versions of so many calls are remembered, which saves a read before a write. */
const KNOWN_MAX = 4_096;

/** The store; own calls are read with a watch. */
export function remoteStore(
  connection: Connection,
  base: string,
  watches: RemoteWatches,
): RemoteStore {
  const known = new Map<string, { readonly writeId: string; readonly version: number }>();
  const callsOf = (service: string): string => `${base}/${encodeName(service)}/open`;
  const pathOf = ({ service, callId }: CallKey): string =>
    `${callsOf(service)}/${encodeName(callId)}`;
  const note = (path: string, writeId: string, version: number): void => {
    known.delete(path);
    known.set(path, { writeId, version });
    const [oldest] = known.size > KNOWN_MAX ? known.keys() : [];
    if (oldest !== undefined) known.delete(oldest);
  };
  const pause = (attempt: number, signal: AbortSignal | undefined): Promise<void> =>
    sleep(connection.clock, backoffMs(attempt, BACKOFF, connection.random), { signal });

  const read = async (
    key: CallKey,
    signal?: AbortSignal,
    isSynced = false,
  ): Promise<StoredCall | undefined> => {
    const path = pathOf(key);
    const store = { connection, base, pathOf: () => path };
    const node = await readAgain(store, `read ${path}`, signal, async ({ ask }) => {
      const watch = watches.isFollowed(path);
      if (isSynced) return ask.get(path, watch);
      const [synced, reply] = await Promise.all([ask.sync(path), ask.get(path, watch)]);
      return synced.ok ? reply : synced;
    });
    if (node === undefined) {
      known.delete(path);
      watches.forget(path);
      return undefined;
    }
    const record = decodeCall(node.data, key);
    const { version } = node.stat;
    note(path, record.writeId, version);
    return { record, version };
  };
  /** The version of a write, where it still stands; else what stands there. */
  const versionOf = async (
    key: CallKey,
    writeId: string,
    signal: AbortSignal | undefined,
  ): Promise<number | StoredCall | undefined> => {
    const last = known.get(pathOf(key));
    if (last?.writeId === writeId) return last.version;
    const stored = await read(key, signal);
    return stored?.record.writeId === writeId ? stored.version : stored;
  };
  return {
    connection,
    callsOf,
    pathOf,
    serversOf: (service) => `${base}/${encodeName(service)}/servers`,
    read,
    async create(record, signal) {
      const path = pathOf(record);
      for (let attempt = 0; ; attempt += 1) {
        throwIfAborted(signal);
        const live = await connection.current(`create ${path}`, { signal });
        watches.follow(live, path, record.callId);
        const made = await abortable(
          connection.createPersistent(live, path, encodeCall(record)),
          signal,
        );
        if (made.ok) {
          note(path, record.writeId, 0);
          // Without waiting: the watch by which the vote is heard.
          void live.ask.exists(path, true);
          return record;
        }
        if (made.kind === 'no-node') {
          const parent = callsOf(record.service);
          await abortable(connection.ensure(live, parent, CREATE.container), signal);
          continue;
        }
        if (made.kind !== 'exists' && !isUnanswered(made)) throw errorOf(made, `create ${path}`);
        const stored = await read(record, signal);
        if (stored !== undefined) return stored.record;
        await pause(attempt, signal);
      }
    },
    async replace(record, replaces, signal) {
      const path = pathOf(record);
      for (let attempt = 0; ; attempt += 1) {
        throwIfAborted(signal);
        const version = await versionOf(record, replaces, signal);
        if (typeof version !== 'number') return version;
        const live = await connection.current(`write ${path}`, { signal });
        const written = await abortable(live.ask.set(path, encodeCall(record), version), signal);
        if (written.ok) {
          connection.noteServerTime(written.value);
          note(path, record.writeId, written.value.version);
          return { record, version: written.value.version };
        }
        known.delete(path);
        const isRaced = written.kind === 'bad-version' || written.kind === 'no-node';
        if (!isRaced && !isUnanswered(written)) throw errorOf(written, `write ${path}`);
        // The write may have been made: then it stands there under its own name.
        const stored = await read(record, signal);
        if (stored?.record.writeId !== replaces) return stored;
        await pause(attempt, signal);
      }
    },
    async remove(record, signal) {
      const path = pathOf(record);
      for (let attempt = 0; ; attempt += 1) {
        throwIfAborted(signal);
        const version = await versionOf(record, record.writeId, signal);
        if (typeof version !== 'number') return;
        const live = await connection.current(`remove ${path}`, { signal });
        const removed = await abortable(live.ask.remove(path, version), signal);
        known.delete(path);
        if (removed.ok || removed.kind === 'no-node') return watches.forget(path);
        const isRaced = removed.kind === 'bad-version';
        if (!isRaced && !isUnanswered(removed)) throw errorOf(removed, `remove ${path}`);
        await pause(attempt, signal);
      }
    },
  };
}
