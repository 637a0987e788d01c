import { abortable, throwIfAborted } from '../../core/abort.js';
import { closedError } from '../../core/errors.js';
import type { LogCallOptions } from '../../transaction/decision-log.js';
import { callQueueFullError } from '../../transaction/remote/call-errors.js';
import { CALL_BYTES_MAX, QUEUED_MAX } from '../../transaction/remote/call-keys.js';
import { type CallRecord, callAfter } from '../../transaction/remote/call-record.js';
import type { CallNode, CallSession, TakenCall } from '../../transaction/remote/call-session.js';
import { CREATE } from './client.js';
import type { Connection } from './connection.js';
import { nowOf, readAgain } from './log-store.js';
import { decodeName } from './names.js';
import { remotePresence } from './remote-presence.js';
import { type RemoteStore, remoteStore, type StoredCall } from './remote-store.js';
import { remoteWatches } from './remote-watches.js';

/** So many znodes are read at the same time. */
const READS = 16;
const CLOSE_MS = 1_000;

/**
 * Calls on ZooKeeper: one persistent znode each, changed by versioned writes, which are the votes and
 * the claims; an ephemeral one for each server. A server watches the parent of its service's calls and
 * the calls in its hands, a caller its own: one watch a site and call.
 */
export function zookeeperCallSession(
  connection: Connection,
  authority: string,
  node: CallNode,
): CallSession {
  const address = node.random.token(11);
  const watches = remoteWatches();
  const base = `${connection.root}/calls/${authority}/${node.namespace}`;
  const store = remoteStore(connection, base, watches);
  const presence = remotePresence(connection);
  const taken = new Set<string>();
  const listened = new Set<string>();
  const timed = { connection, base, pathOf: () => base };
  const crowds = crowdsOf(store);
  let isClosed = false;
  const enter = (options: LogCallOptions | undefined): AbortSignal | undefined => {
    throwIfAborted(options?.signal);
    if (isClosed) throw closedError('the session of calls');
    return options?.signal;
  };
  const serverPath = (service: string): string => `${store.serversOf(service)}/${address}`;
  const writeId = (): string => node.random.token(11);
  return {
    address,
    bytesMax: CALL_BYTES_MAX,
    async create({ timeoutMs, ...call }, options) {
      const signal = enter(options);
      const deadlineMs = Math.ceil((await nowOf(timed, signal)) + timeoutMs);
      const facts = { ...call, deadlineMs, caller: address, writeId: writeId() };
      crowds.assertRoom(call.service);
      const made = await store.create({ ...facts, state: 'open', attempt: 0, server: '' }, signal);
      crowds.look(call.service);
      return made;
    },
    async bury({ callId, service }, options) {
      const signal = enter(options);
      const deadlineMs = Math.ceil(await nowOf(timed, signal));
      const facts = { callId, service, deadlineMs, caller: address, writeId: writeId() };
      const buried = { attempt: 0, server: '', payload: '', outcome: 'aborted' } as const;
      return store.create({ ...facts, ...buried, state: 'ended' }, signal);
    },
    read: async (key, options) =>
      (await store.read(key, enter(options), options?.isHinted))?.record,
    replace: async (record, replaces, options) =>
      (await store.replace(record, replaces, enter(options)))?.record,
    remove: (record, options) => store.remove(record, enter(options)),
    async take(service, options) {
      const signal = enter(options);
      const isListened = listened.has(service);
      const ids = await idsOf(store, service, signal, isListened ? watches : undefined);
      forgetGone(taken, ids);
      const taking = { store, address, writeId, taken, watches, timed, isListened };
      return takeOne(taking, service, ids, signal);
    },
    async list(service, limit, options) {
      const signal = enter(options);
      const ids = await idsOf(store, service, signal);
      const records = await readAll(store, service, ids.slice(0, limit), signal);
      // What was given back can be taken again.
      for (const { callId, state } of records) if (state === 'open') taken.delete(callId);
      return records;
    },
    nowMs: (options) => nowOf(timed, enter(options)),
    announce: (service, options) =>
      presence.show(serverPath(service), store.serversOf(service), enter(options)),
    withdraw: (service, options) => presence.withdraw(serverPath(service), enter(options)),
    async servers(service, options) {
      const signal = enter(options);
      const path = store.serversOf(service);
      const children = await readAgain(timed, `list ${path}`, signal, async ({ ask }) => {
        const [synced, reply] = await Promise.all([ask.sync(path), ask.children(path)]);
        return synced.ok ? reply : synced;
      });
      return children?.names ?? [];
    },
    listen(services, heard) {
      const stop = watches.listen(heard);
      for (const service of services) listened.add(service);
      return stop;
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      watches.close();
      const late = new Promise<void>((resolve) => {
        connection.clock.schedule(CLOSE_MS, resolve, { keepAlive: false });
      });
      await Promise.race([presence.close(), late]);
    },
  };
}

/** The ids of the calls of a service, the oldest first; with watches, the next one is heard of. */
async function idsOf(
  store: RemoteStore,
  service: string,
  signal: AbortSignal | undefined,
  watches?: ReturnType<typeof remoteWatches>,
): Promise<readonly string[]> {
  const { connection } = store;
  const parent = store.callsOf(service);
  const timed = { connection, base: parent, pathOf: () => parent };
  const isWatched = watches !== undefined;
  const children = await readAgain(timed, `list ${parent}`, signal, async (live) => {
    watches?.followService(live, parent, service);
    const { ask } = live;
    if (!isWatched) {
      const [synced, reply] = await Promise.all([ask.sync(parent), ask.children(parent)]);
      return synced.ok ? reply : synced;
    }
    // The watch tells of whatever this server does not have yet.
    const reply = await ask.children(parent, true);
    if (reply.ok || reply.kind !== 'no-node') return reply;
    // A parent that is not there cannot be watched for children.
    await connection.ensure(live, parent, CREATE.container);
    return ask.children(parent, true);
  });
  const ids = (children?.names ?? []).flatMap((name) => decodeName(name) ?? []);
  return ids.sort((one, other) => (ageOf(one) < ageOf(other) ? -1 : 1));
}

/** The part of a call's id by which ids sort in the order of their making. */
function ageOf(callId: string): string {
  return callId.split('.')[4] ?? callId;
}

interface Taking {
  readonly store: RemoteStore;
  readonly address: string;
  readonly writeId: () => string;
  /** Calls that were seen in somebody's hands. */
  readonly taken: Set<string>;
  readonly watches: ReturnType<typeof remoteWatches>;
  readonly timed: Parameters<typeof nowOf>[0];
  /** Whether a hint tells of the next call. */
  readonly isListened: boolean;
}

async function takeOne(
  { store, address, writeId, taken, watches, timed, isListened }: Taking,
  service: string,
  ids: readonly string[],
  signal: AbortSignal | undefined,
): Promise<TakenCall | undefined> {
  const waiting = ids.filter((callId) => !taken.has(callId));
  for (const [index, callId] of waiting.entries()) {
    // A version that is behind is found out by the claim.
    const found = await store.read({ service, callId }, signal, true);
    if (found === undefined) continue;
    const remainingMs = found.record.deadlineMs - (await nowOf(timed, signal));
    const claim = { type: 'claim', server: address } as const;
    const claimed = callAfter(found.record, claim, writeId());
    taken.add(callId);
    if (claimed === undefined || remainingMs <= 0) continue;
    const stands: StoredCall | undefined = await store.replace(
      claimed,
      found.record.writeId,
      signal,
    );
    if (stands?.record.writeId !== claimed.writeId) continue;
    const live = await store.connection.current('follow a call', { signal });
    const path = store.pathOf(claimed);
    watches.follow(live, path, callId);
    // Without waiting: the watch by which its end is heard.
    void live.ask.exists(path, true);
    return { record: claimed, remainingMs, isLast: isListened && index === waiting.length - 1 };
  }
  return undefined;
}

function forgetGone(taken: Set<string>, ids: readonly string[]): void {
  const standing = new Set(ids);
  for (const callId of taken) if (!standing.has(callId)) taken.delete(callId);
}

async function readAll(
  store: RemoteStore,
  service: string,
  ids: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly CallRecord[]> {
  const records: CallRecord[] = [];
  for (let from = 0; from < ids.length; from += READS) {
    const page = ids.slice(from, from + READS);
    const reads = page.map((callId) => store.read({ service, callId }, signal));
    const found = await abortable(Promise.all(reads), signal);
    records.push(...found.flatMap((stored) => stored?.record ?? []));
  }
  return records;
}

interface Crowds {
  /** Refuses a call to a service of which too many stood there at the last look. */
  assertRoom(service: string): void;
  /** Counts them, in the background: a call does not wait for that. */
  look(service: string): void;
}

function crowdsOf(store: RemoteStore): Crowds {
  const counts = new Map<string, number>();
  return {
    assertRoom(service) {
      if ((counts.get(service) ?? 0) < QUEUED_MAX) return;
      // The next one is let in, to count again.
      counts.delete(service);
      throw callQueueFullError(service, QUEUED_MAX);
    },
    look(service) {
      const counted = async (): Promise<void> => {
        const live = await store.connection.current('count calls');
        const stat = await live.ask.exists(store.callsOf(service));
        if (stat.ok) counts.set(service, stat.value.numChildren);
      };
      counted().catch(() => {});
    },
  };
}
