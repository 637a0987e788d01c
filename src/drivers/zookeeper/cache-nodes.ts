import type { CasChange, CasItem, CasState, NewCasState } from '../../cache/cas-tier.js';
import type { CallBounds, TextEncoding } from '../../cache/driver.js';
import { abortable, abortScope, type Scope, sleep } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { elapsedMs, type Instant, instantOf } from '../../core/clock.js';
import { CoordinationError } from '../../core/errors.js';
import type { NodeCopies } from './cache-copies.js';
import { encodeRecord, REMOVED_DATA, stateOf } from './cache-data.js';
import { ANSWER_LOST, errorOf, expectOk, type Reply, unavailableError } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { encodeName } from './names.js';
import { ANY_VERSION, type NodeData } from './requests.js';

/** By what a znode can be changed if nobody changed it since. */
export interface Target {
  readonly version: number;
  /** The cache's generation at that time. */
  readonly generation: string;
  readonly seen: Instant;
}

/** Where one cache stores. */
export interface CacheStore {
  readonly connection: Connection;
  readonly copies: NodeCopies;
  /** The parent of the znodes of the keys. */
  readonly base: string;
  readonly encoding: TextEncoding;
}

/** Holds have no generation. */
const NO_GENERATION = '';
const GENERATION_LENGTH = 11;

/** Between attempts on a znode that others change too. */
const PAUSE = { baseMs: 5, maxMs: 250 };

/** Begins the name of a key's znode. */
export const KEY_PREFIX = 'k-';

/** The znode of a key. */
export function pathOf({ base }: CacheStore, key: string): string {
  return `${base}/${KEY_PREFIX}${encodeName(key)}`;
}

/** The znode with the cache's generation: everything of an earlier one is outdated. */
export function generationPath({ base }: CacheStore): string {
  return `${base}/generation`;
}

/** One key during one operation, which takes no longer than the bounds allow. */
export function cacheNode(
  store: CacheStore,
  key: string,
  operation: string,
  bounds: CallBounds,
): CasItem<Target> {
  const path = pathOf(store, key);
  const { clock, random } = store.connection;
  const since = instantOf(clock);
  const leftMs = (): number => {
    const left = bounds.timeoutMs - elapsedMs(clock, since);
    if (left <= 0) throw overdueError(operation, path, bounds);
    return left;
  };
  const within = async <T>(work: (call: NodeCall) => Promise<T>): Promise<T> =>
    withinBounds(store, `${operation} ${path}`, { timeoutMs: leftMs() }, work);

  return {
    look: () =>
      within(async (call) => {
        const seen = await call.see(path);
        return seen && { state: seen.state, target: seen.target };
      }),
    glance: () =>
      within(async (call) => {
        const seen = await call.see(path);
        if (seen === undefined || seen.node.data.equals(REMOVED_DATA)) return undefined;
        return { isHold: seen.state.kind === 'hold', target: seen.target };
      }),
    add: (state) => within((call) => add(store, call, path, state)),
    put: (state) => within((call) => put(store, call, path, state)),
    replace: (target, state) => within((call) => call.write(path, target, state)),
    remove: (target) =>
      within(async ({ live, send }) => {
        store.copies.drop(path);
        const reply = await send(live.ask.set(path, REMOVED_DATA, target.version));
        store.copies.drop(path);
        if (reply.ok) return 'done';
        if (isRaced(reply)) return 'changed';
        throw errorOf(reply, operation);
      }),
    async pause(attempts) {
      await sleep(clock, Math.min(backoffMs(attempts, PAUSE, random), leftMs()));
    },
  };
}

/** Within one session, and within the time of the operation. */
export interface NodeCall {
  readonly live: LiveSession;
  /** Waits for an answer; one that does not come in time was lost. */
  send<T>(asking: Promise<Reply<T>>): Promise<Reply<T>>;
  /** The generation now; made when there is none. */
  generation(): Promise<string>;
  see(path: string): Promise<Seen | undefined>;
  write(path: string, target: Target, state: NewCasState): Promise<CasChange<Target>>;
}

interface Seen {
  readonly node: NodeData;
  readonly state: CasState;
  readonly target: Target;
}

/** Runs the work of one operation in the current session. */
export async function withinBounds<T>(
  store: CacheStore,
  operation: string,
  { timeoutMs }: CallBounds,
  work: (call: NodeCall) => Promise<T>,
): Promise<T> {
  const { connection } = store;
  const { clock, servers } = connection;
  const timeoutReason = () => unavailableError(operation, servers, timeoutMs);
  using scope = abortScope({ clock, timeoutMs, timeoutReason });
  const live = await connection.current(operation, { signal: scope.signal });
  return work(callIn(store, live, scope, operation));
}

function callIn(store: CacheStore, live: LiveSession, scope: Scope, operation: string): NodeCall {
  const { connection, copies, encoding } = store;
  const send = <R>(asking: Promise<Reply<R>>): Promise<Reply<R>> =>
    abortable(asking, scope.signal).catch(() => ANSWER_LOST);
  const call: NodeCall = {
    live,
    send,
    generation: () => generationNow(store, call),
    async see(path) {
      const reply = await send(live.ask.get(path));
      if (!reply.ok && reply.kind === 'no-node') return undefined;
      const node = expectOk(reply, operation);
      const generation = await call.generation();
      const nowMs = await connection.serverTimeMs(live);
      const state = stateOf(path, node, { generation, nowMs, encoding });
      const seen = instantOf(connection.clock);
      return { node, state, target: { version: node.stat.version, generation, seen } };
    },
    async write(path, { version, generation }, state) {
      const tag = state.kind === 'hold' ? NO_GENERATION : generation;
      const data = encodeRecord(path, { state, generation: tag }, encoding);
      copies.drop(path);
      // Behind the write, so that it is of no earlier moment.
      const [written, now] = await Promise.all([
        send(live.ask.set(path, data, version)),
        send(live.ask.get(generationPath(store))),
      ]);
      copies.drop(path);
      if (!written.ok) {
        if (isRaced(written)) return { state: 'changed' };
        throw errorOf(written, operation);
      }
      connection.noteServerTime(written.value);
      const isCurrent = now.ok && now.value.data.toString() === generation;
      const seen = instantOf(connection.clock);
      const target = { version: written.value.version, generation, seen };
      return { state: 'done', isCurrent, target };
    },
  };
  return call;
}

/** What stands at a key, from this process's copy where there is a good one: without any request. */
export async function readCopied(
  store: CacheStore,
  key: string,
  bounds: CallBounds,
): Promise<CasState | undefined> {
  const { connection, copies } = store;
  const path = pathOf(store, key);
  return withinBounds(store, `read ${path}`, bounds, async (call) => {
    const { live } = call;
    let node = copies.get(live, path);
    if (node === undefined) {
      const reply = await call.send(copies.read(live, path));
      if (!reply.ok && reply.kind === 'no-node') return undefined;
      node = expectOk(reply, 'read');
    }
    const generation = await call.generation();
    const nowMs = await connection.serverTimeMs(live);
    return stateOf(path, node, { generation, nowMs, encoding: store.encoding });
  });
}

async function generationNow(store: CacheStore, { live, send }: NodeCall): Promise<string> {
  const { connection, copies } = store;
  const path = generationPath(store);
  const copy = copies.get(live, path);
  if (copy !== undefined) return copy.data.toString();
  const reply = await send(copies.read(live, path));
  if (reply.ok) return reply.value.data.toString();
  if (reply.kind !== 'no-node') throw errorOf(reply, 'read the generation');
  const own = Buffer.from(connection.random.token(GENERATION_LENGTH));
  const created = await createNode(store, live, path, own, send);
  if (created.ok) return own.toString();
  if (created.kind !== 'exists') throw errorOf(created, 'write the generation');
  return expectOk(await send(live.ask.get(path)), 'read the generation').data.toString();
}

/** Gives the cache another generation. */
export async function renewGeneration(store: CacheStore, call: NodeCall): Promise<void> {
  const path = generationPath(store);
  await call.generation();
  const token = Buffer.from(store.connection.random.token(GENERATION_LENGTH));
  store.copies.drop(path);
  const reply = await call.send(call.live.ask.set(path, token, ANY_VERSION));
  store.copies.drop(path);
  expectOk(reply, 'clear the cache');
}

/** Creates the znode of a key, or writes over what is as good as nothing. */
async function add(
  store: CacheStore,
  call: NodeCall,
  path: string,
  state: NewCasState,
): Promise<CasChange<Target>> {
  const generation = await call.generation();
  const data = encodeRecord(path, { state, generation }, store.encoding);
  const created = await createNode(store, call.live, path, data, call.send);
  if (created.ok) {
    const now = await call.send(call.live.ask.get(generationPath(store)));
    const isCurrent = now.ok && now.value.data.toString() === generation;
    const target = { version: 0, generation, seen: instantOf(store.connection.clock) };
    return { state: 'done', isCurrent, target };
  }
  if (created.kind !== 'exists') throw errorOf(created, 'write');
  const seen = await call.see(path);
  if (seen?.state.kind !== 'outdated') return { state: 'changed' };
  return call.write(path, seen.target, state);
}

/** Writes whatever stands there. */
async function put(
  store: CacheStore,
  call: NodeCall,
  path: string,
  state: NewCasState,
): Promise<void> {
  const data = encodeRecord(path, { state, generation: NO_GENERATION }, store.encoding);
  store.copies.drop(path);
  const set = () => call.send(call.live.ask.set(path, data, ANY_VERSION));
  let reply: Reply<unknown> = await set();
  if (!reply.ok && reply.kind === 'no-node') {
    reply = await createNode(store, call.live, path, data, call.send);
    if (!reply.ok && reply.kind === 'exists') reply = await set();
  }
  store.copies.drop(path);
  expectOk(reply, 'write');
}

/** Creates a znode of the cache, and the cache's directory where it is missing. */
export async function createNode(
  { connection, base }: CacheStore,
  live: LiveSession,
  path: string,
  data: Buffer,
  send: NodeCall['send'],
): Promise<Reply<string>> {
  const create = () => send(connection.createPersistent(live, path, data));
  const created = await create();
  if (created.ok || created.kind !== 'no-node') return created;
  await connection.ensure(live, base);
  return create();
}

function isRaced({ kind }: { readonly kind: string }): boolean {
  return kind === 'bad-version' || kind === 'no-node';
}

/** Whether a target is young enough: a znode that was removed is swept much later. */
export function isYoung(connection: Connection, { seen }: Target, ageMsMax: number): boolean {
  return elapsedMs(connection.clock, seen) < ageMsMax;
}

/** The error for a znode that others changed again and again. */
export function contendedError(operation: string, attempts: number): CoordinationError {
  return unknownError(operation, `others changed the znode ${attempts} times`);
}

function overdueError(operation: string, path: string, { timeoutMs }: CallBounds) {
  return unknownError(operation, `${path} was not done within ${timeoutMs} ms`);
}

function unknownError(operation: string, why: string): CoordinationError {
  const message = `could not ${operation}: ${why}; it may have taken effect or not`;
  const details = { backend: 'zookeeper', operation };
  return new CoordinationError('RESULT_UNKNOWN', message, details);
}
