import type { Clock } from '../../core/clock.js';
import { CoordinationError } from '../../core/errors.js';
import type { GrantRequest, LockInspection, LockMode, LockParty } from '../../lock/driver.js';

/** A request as it stands in the space: what was asked, under which grant id. */
export interface SpaceRequest extends Omit<GrantRequest, 'signal'> {
  readonly grantId: string;
  /** Told when the request's turn comes, if it had to wait. */
  readonly onGranted: (granted: SpaceGrant) => void;
  /** Told when the grant ended without a release. */
  readonly onLost: () => void;
  /** Told when others begin to wait for the grant. */
  readonly onWaiters: (waiters: number) => void;
}

/** What the space answers to the holder. */
export interface SpaceGrant {
  readonly fencingToken: bigint | undefined;
  readonly tokens: number;
  /** How long the grant lasts from now. */
  readonly remainingMs: number;
  readonly waiters: number;
}

/** The answer to an acquire. */
export type AcquireReply =
  | { readonly state: 'granted'; readonly grant: SpaceGrant }
  | { readonly state: 'queued' }
  | { readonly state: 'busy' }
  /** The grant id was used up: cancelled, released or expired. */
  | { readonly state: 'gone' };

interface Holder {
  readonly request: SpaceRequest;
  readonly fencingToken: bigint | undefined;
  readonly grantedAtMs: number;
  expiresAtMs: number;
}

interface Waiter {
  readonly request: SpaceRequest;
  readonly since: number;
}

interface Resource {
  readonly holders: Map<string, Holder>;
  readonly queue: Map<string, Waiter>;
  /** Grant ids that ended, and until when they are remembered. */
  readonly gone: Map<string, number>;
  /** What all shared grants between two exclusive ones carry. */
  epoch: bigint | undefined;
  cancelTimer: () => void;
}

/** One in-process server of locks: what Redis or ZooKeeper is to the other drivers. */
export interface LockSpace {
  acquire(request: SpaceRequest): AcquireReply;
  /** Undefined when the grant is not held. */
  renew(resource: string, grantId: string, ttlMs: number): SpaceGrant | undefined;
  release(resource: string, grantId: string): 'released' | 'lost';
  /** Leaves the line, or releases what was granted meanwhile; an acquire that comes later is refused. */
  cancel(resource: string, grantId: string, ttlMs: number): void;
  reserveTokens(resource: string, grantId: string, tokens: number): bigint | undefined;
  inspect(resource: string): LockInspection;
  /** How many resources take up memory: zero when all is released and forgotten. */
  readonly size: number;
}

/**
 * Holders, queues and fences of all resources of one process. Every verb is idempotent per grant id,
 * in any order, as the contract of drivers asks, although in one process nothing is sent twice.
 */
export function lockSpace(clock: Clock): LockSpace {
  const resources = new Map<string, Resource>();
  let fence = 0n;

  /** Above every earlier token of any resource, also of an earlier process on a sane wall clock. */
  const takeTokens = (count: number): bigint => {
    const microseconds = BigInt(Math.floor(clock.wallMs() * 1_000));
    const first = fence + 1n > microseconds ? fence + 1n : microseconds;
    fence = first + BigInt(count) - 1n;
    return first;
  };
  const open = (name: string): Resource => {
    const known = resources.get(name);
    if (known !== undefined) return known;
    const created: Resource = {
      holders: new Map(),
      queue: new Map(),
      gone: new Map(),
      epoch: undefined,
      cancelTimer: () => {},
    };
    resources.set(name, created);
    return created;
  };
  const hold = (resource: Resource, request: SpaceRequest): SpaceGrant => {
    const { mode, tokens, grantId } = request;
    const nowMs = clock.monotonicMs();
    let fencingToken: bigint | undefined;
    if (mode === 'exclusive') fencingToken = takeTokens(tokens);
    if (mode === 'shared') fencingToken = resource.epoch ??= takeTokens(1);
    if (mode !== 'shared') resource.epoch = undefined;
    const expiresAtMs = nowMs + request.ttlMs;
    const holder = { request, fencingToken, grantedAtMs: nowMs, expiresAtMs };
    resource.holders.set(grantId, holder);
    return grantOf(resource, holder, nowMs);
  };
  /** Ends what has expired, and serves those in line who fit now. */
  const serve = (resource: Resource): void => {
    prune(resource, clock.monotonicMs());
    for (const { request } of Array.from(resource.queue.values())) {
      if (!fits(resource, request)) break;
      resource.queue.delete(request.grantId);
      const granted = hold(resource, request);
      queueMicrotask(() => request.onGranted(granted));
    }
  };
  /** Looks again when something ends next, or forgets what is empty. */
  const watch = (name: string, resource: Resource): void => {
    resource.cancelTimer();
    const nextMs = nextEventMs(resource);
    if (nextMs === undefined) {
      resources.delete(name);
      return;
    }
    const delayMs = nextMs - clock.monotonicMs();
    const keepAlive = resource.queue.size > 0;
    const lookAgain = (): void => {
      serve(resource);
      watch(name, resource);
    };
    resource.cancelTimer = clock.schedule(delayMs, lookAgain, { keepAlive });
  };
  const on = <T>(name: string, verb: (resource: Resource) => T): T => {
    const resource = open(name);
    // Those who wait come before whoever asks now.
    serve(resource);
    const answer = verb(resource);
    serve(resource);
    watch(name, resource);
    return answer;
  };

  return {
    acquire: (request) =>
      on(request.resource, (resource) => {
        const { grantId } = request;
        const held = resource.holders.get(grantId);
        if (held !== undefined) {
          return { state: 'granted', grant: grantOf(resource, held, clock.monotonicMs()) };
        }
        if (resource.gone.has(grantId)) return { state: 'gone' };
        if (resource.queue.has(grantId)) return { state: 'queued' };
        refuseOtherCapacity(resource, request);
        if (resource.queue.size === 0 && fits(resource, request)) {
          return { state: 'granted', grant: hold(resource, request) };
        }
        if (!request.wait) return { state: 'busy' };
        resource.queue.set(grantId, { request, since: clock.monotonicMs() });
        tellHolders(resource);
        return { state: 'queued' };
      }),
    renew: (name, grantId, ttlMs) =>
      on(name, (resource) => {
        const held = resource.holders.get(grantId);
        if (held === undefined) return undefined;
        const nowMs = clock.monotonicMs();
        held.expiresAtMs = nowMs + ttlMs;
        return grantOf(resource, held, nowMs);
      }),
    release: (name, grantId) =>
      on(name, (resource) => (resource.holders.delete(grantId) ? 'released' : 'lost')),
    cancel: (name, grantId, ttlMs) =>
      on(name, (resource) => {
        resource.queue.delete(grantId);
        resource.holders.delete(grantId);
        resource.gone.set(grantId, clock.monotonicMs() + ttlMs);
      }),
    reserveTokens: (name, grantId, tokens) =>
      on(name, (resource) => (resource.holders.has(grantId) ? takeTokens(tokens) : undefined)),
    inspect: (name) =>
      on(name, (resource) => {
        const nowMs = clock.monotonicMs();
        return {
          resource: name,
          holders: Array.from(resource.holders.values(), (holder) => holderParty(holder, nowMs)),
          waiters: Array.from(resource.queue.values(), ({ request, since }) =>
            party(request, nowMs - since),
          ),
        };
      }),
    get size() {
      return resources.size;
    },
  };
}

/** Exclusive: alone. Shared: beside readers. Counting: while the permits in use leave room. */
function fits(resource: Resource, { mode, permits, capacity }: SpaceRequest): boolean {
  const held = Array.from(resource.holders.values(), (holder) => holder.request);
  if (held.length === 0) return mode !== 'counting' || permits <= capacity;
  if (mode === 'exclusive' || held.some((other) => other.mode !== mode)) return false;
  const used = held.reduce((sum, other) => sum + other.permits, 0);
  return used + permits <= capacity;
}

function refuseOtherCapacity(resource: Resource, request: SpaceRequest): void {
  for (const { request: other } of resource.holders.values()) {
    if (!isCounting(request.mode) || !isCounting(other.mode)) continue;
    if (other.capacity === request.capacity) continue;
    const details = {
      resource: request.resource,
      requested: request.capacity,
      current: other.capacity,
    };
    throw new CoordinationError(
      'LOCK_CAPACITY_MISMATCH',
      `"${request.resource}" is held with capacity ${other.capacity}, not ${request.capacity}; ask with the same capacity everywhere`,
      details,
    );
  }
}

const isCounting = (mode: LockMode): boolean => mode === 'counting';

function prune(resource: Resource, nowMs: number): void {
  for (const [grantId, holder] of resource.holders) {
    if (holder.expiresAtMs > nowMs) continue;
    resource.holders.delete(grantId);
    // A delayed acquire of this id must not take the resource again.
    resource.gone.set(grantId, nowMs + holder.request.ttlMs);
    queueMicrotask(holder.request.onLost);
  }
  for (const [grantId, untilMs] of resource.gone) {
    if (untilMs <= nowMs) resource.gone.delete(grantId);
  }
}

/** When something ends by itself next; undefined when nothing is left. */
function nextEventMs(resource: Resource): number | undefined {
  const ends = [
    ...Array.from(resource.holders.values(), (holder) => holder.expiresAtMs),
    ...resource.gone.values(),
  ];
  return ends.length === 0 ? undefined : Math.min(...ends);
}

function tellHolders(resource: Resource): void {
  const waiters = resource.queue.size;
  for (const { request } of resource.holders.values()) {
    queueMicrotask(() => request.onWaiters(waiters));
  }
}

function grantOf(resource: Resource, holder: Holder, nowMs: number): SpaceGrant {
  const { request, fencingToken, expiresAtMs } = holder;
  return {
    fencingToken,
    tokens: request.mode === 'exclusive' ? request.tokens : 1,
    remainingMs: expiresAtMs - nowMs,
    waiters: resource.queue.size,
  };
}

function party({ owner, grantId, mode, permits }: SpaceRequest, ageMs: number): LockParty {
  return { owner, grantId, mode, permits, ageMs };
}

function holderParty(holder: Holder, nowMs: number): LockParty {
  const { request, fencingToken, grantedAtMs, expiresAtMs } = holder;
  const remainingMs = expiresAtMs - nowMs;
  return { ...party(request, nowMs - grantedAtMs), fencingToken, remainingMs };
}
