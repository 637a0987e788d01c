import { abortable, throwIfAborted } from '../../core/abort.js';
import type { TransactionId } from '../../core/ids.js';
import type { KeyRequest, KeyReservation } from '../../transaction/decision-log.js';
import { KEY_RESERVE_MS, KEY_RETAIN_MS, keyDigest } from '../../transaction/log-keys.js';
import { errorOf } from './codes.js';
import { decodeKey, encodeKey, type KeyState } from './log-format.js';
import { isUnanswered, type LogStore, nowOf, readAgain } from './log-store.js';

/** Children of one parent stay few: keys are spread over 4,096 parents by three hexadecimal digits. */
const SHARD_CHARS = 3;
const SHARDS = 16 ** SHARD_CHARS;
/** So many parents are looked through for expired keys in one call of prune. */
const PRUNED_SHARDS = 16;
const PRUNED_KEYS = 1_000;

interface StoredKey {
  readonly state: KeyState;
  readonly version: number;
}

/** Who holds a key; undefined when nobody does. */
export async function findKey(
  store: LogStore,
  key: string,
  signal?: AbortSignal,
): Promise<KeyReservation | undefined> {
  const stored = await readKey(store, pathOf(store, key), signal);
  if (stored === undefined || isExpired(stored.state, await nowOf(store, signal))) return undefined;
  return shown(stored.state);
}

/** Reserves a key by a versioned write, unless somebody holds it. */
export async function reserveKey(
  store: LogStore,
  { key, transactionId, replaces }: KeyRequest,
  signal?: AbortSignal,
): Promise<KeyReservation> {
  const reservedAtMs = Math.round(await nowOf(store, signal));
  const mine: KeyState = { transactionId, reservedAtMs };
  const found = await changeKey(store, key, signal, (state) => {
    const isLeft = state?.committedAtMs === undefined && state?.transactionId === replaces;
    return state === undefined || isLeft || isExpired(state, reservedAtMs) ? mine : undefined;
  });
  return shown(found ?? mine);
}

/** Notes that the transaction that holds a key is committed. */
export async function confirmKey(
  store: LogStore,
  key: string,
  transactionId: TransactionId,
  signal?: AbortSignal,
): Promise<void> {
  const committedAtMs = Math.round(await nowOf(store, signal));
  await changeKey(store, key, signal, (state) => {
    const isMine = state?.transactionId === transactionId && state.committedAtMs === undefined;
    return isMine ? { ...state, committedAtMs } : undefined;
  });
}

/** Gives a reservation up. */
export async function releaseKey(
  store: LogStore,
  key: string,
  transactionId: TransactionId,
  signal?: AbortSignal,
): Promise<void> {
  const path = pathOf(store, key);
  for (;;) {
    const stored = await readKey(store, path, signal);
    const isMine = stored?.state.transactionId === transactionId;
    if (!isMine || stored.state.committedAtMs !== undefined) return;
    const live = await store.connection.current(`remove ${path}`, { signal });
    const removed = await abortable(live.ask.remove(path, stored.version), signal);
    if (removed.ok) return;
    const isRaced = removed.kind === 'bad-version' || removed.kind === 'no-node';
    if (!isRaced && !isUnanswered(removed)) throw errorOf(removed, `remove ${path}`);
  }
}

/** Removes expired keys of a few parents, others each time. */
export async function pruneKeys(store: LogStore, signal?: AbortSignal): Promise<void> {
  const { random } = store.connection;
  const nowMs = await nowOf(store, signal);
  const first = Math.floor(random.fraction() * SHARDS);
  for (let shard = first; shard < first + PRUNED_SHARDS; shard += 1) {
    const parent = `${baseOf(store)}/${shardName(shard % SHARDS)}`;
    const listed = await readAgain(store, `list ${parent}`, signal, ({ ask }) =>
      ask.children(parent),
    );
    for (const name of listed?.names.slice(0, PRUNED_KEYS) ?? []) {
      const path = `${parent}/${name}`;
      const stored = await readKey(store, path, signal);
      if (stored === undefined || !isExpired(stored.state, nowMs)) continue;
      const live = await store.connection.current(`remove ${path}`, { signal });
      await live.ask.remove(path, stored.version);
    }
  }
}

/** Answers what stands there after the change; undefined when `change` made that. */
async function changeKey(
  store: LogStore,
  key: string,
  signal: AbortSignal | undefined,
  change: (state: KeyState | undefined) => KeyState | undefined,
): Promise<KeyState | undefined> {
  const path = pathOf(store, key);
  for (;;) {
    throwIfAborted(signal);
    const stored = await readKey(store, path, signal);
    const changed = change(stored?.state);
    if (changed === undefined) return stored?.state;
    const live = await store.connection.current(`write ${path}`, { signal });
    const data = encodeKey(changed);
    const writing =
      stored === undefined
        ? store.connection.createPersistent(live, path, data)
        : live.ask.set(path, data, stored.version);
    const written = await abortable<Awaited<typeof writing>>(writing, signal);
    if (written.ok) return undefined;
    const { kind } = written;
    const isParentMissing = kind === 'no-node' && stored === undefined;
    if (isParentMissing) await abortable(store.connection.ensure(live, parentOf(path)), signal);
    const isRaced = kind === 'bad-version' || kind === 'no-node' || kind === 'exists';
    if (!isRaced && !isUnanswered(written)) throw errorOf(written, `write ${path}`);
  }
}

async function readKey(
  store: LogStore,
  path: string,
  signal?: AbortSignal,
): Promise<StoredKey | undefined> {
  const node = await readAgain(store, `read ${path}`, signal, async ({ ask }) => {
    const [synced, reply] = await Promise.all([ask.sync(path), ask.get(path)]);
    return synced.ok ? reply : synced;
  });
  if (node === undefined) return undefined;
  return { state: decodeKey(node.data, path), version: node.stat.version };
}

function isExpired({ committedAtMs, reservedAtMs }: KeyState, nowMs: number): boolean {
  return committedAtMs === undefined
    ? nowMs - reservedAtMs >= KEY_RESERVE_MS
    : nowMs - committedAtMs >= KEY_RETAIN_MS;
}

function shown({ transactionId, committedAtMs }: KeyState): KeyReservation {
  const id = transactionId as TransactionId;
  return { transactionId: id, isCommitted: committedAtMs !== undefined };
}

/** Beside the incarnations, whose parent is their index. */
function baseOf({ base }: LogStore): string {
  return base.replace('/transactions/', '/transaction-keys/');
}

function pathOf(store: LogStore, key: string): string {
  const digest = keyDigest(key);
  const shard = Buffer.from(digest, 'base64url').readUInt16BE(0) % SHARDS;
  return `${baseOf(store)}/${shardName(shard)}/${digest}`;
}

function shardName(shard: number): string {
  return shard.toString(16).padStart(SHARD_CHARS, '0');
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
