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

/** Who holds it. */
export interface Holder {
  readonly request: SpaceRequest;
  readonly fencingToken: bigint | undefined;
  readonly grantedAtMs: number;
  expiresAtMs: number;
}

/** Who stands in line. */
export interface Waiter {
  readonly request: SpaceRequest;
  readonly since: number;
}

/** One resource of the space. */
export interface Resource {
  readonly holders: Map<string, Holder>;
  readonly queue: Map<string, Waiter>;
  /** Grant ids that ended, and until when they are remembered. */
  readonly gone: Map<string, number>;
  /** What all shared grants between two exclusive ones carry. */
  epoch: bigint | undefined;
  cancelTimer: () => void;
}

/** A resource that nobody holds or wants. */
export function freeResource(): Resource {
  return {
    holders: new Map(),
    queue: new Map(),
    gone: new Map(),
    epoch: undefined,
    cancelTimer: () => {},
  };
}

/** Grants a request that fits. */
export function holdResource(
  resource: Resource,
  request: SpaceRequest,
  takeTokens: (count: number) => bigint,
  nowMs: number,
): SpaceGrant {
  const { mode, tokens, grantId, ttlMs } = request;
  let fencingToken: bigint | undefined;
  if (mode === 'exclusive') fencingToken = takeTokens(tokens);
  if (mode === 'shared') {
    resource.epoch ??= takeTokens(1);
    fencingToken = resource.epoch;
  } else {
    resource.epoch = undefined;
  }
  const holder = { request, fencingToken, grantedAtMs: nowMs, expiresAtMs: nowMs + ttlMs };
  resource.holders.set(grantId, holder);
  return grantOf(resource, holder, nowMs);
}

/** The answer to an acquire that was sent before: the same again, or that its attempt is over. */
export function knownAttempt(
  resource: Resource,
  grantId: string,
  nowMs: number,
): AcquireReply | undefined {
  const held = resource.holders.get(grantId);
  if (held !== undefined) return { state: 'granted', grant: grantOf(resource, held, nowMs) };
  if (resource.gone.has(grantId)) return { state: 'gone' };
  return resource.queue.has(grantId) ? { state: 'queued' } : undefined;
}

/** Who holds and who waits. */
export function inspection(name: string, resource: Resource, nowMs: number): LockInspection {
  return {
    resource: name,
    holders: Array.from(resource.holders.values(), (holder) => holderParty(holder, nowMs)),
    waiters: Array.from(resource.queue.values(), ({ request, since }) =>
      party(request, nowMs - since),
    ),
  };
}

/** Exclusive: alone. Shared: beside readers. Counting: while the permits in use leave room. */
export function fits(resource: Resource, { mode, permits, capacity }: SpaceRequest): boolean {
  const held = Array.from(resource.holders.values(), (holder) => holder.request);
  if (held.length === 0) return mode !== 'counting' || permits <= capacity;
  if (mode === 'exclusive' || held.some((other) => other.mode !== mode)) return false;
  const used = held.reduce((sum, other) => sum + other.permits, 0);
  return used + permits <= capacity;
}

/** Everybody counts up to the same capacity. */
export function refuseOtherCapacity(resource: Resource, request: SpaceRequest): void {
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

/** Ends what has expired, and forgets what is remembered long enough. */
export function prune(resource: Resource, nowMs: number): void {
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
export function nextEventMs(resource: Resource): number | undefined {
  const ends = [
    ...Array.from(resource.holders.values(), (holder) => holder.expiresAtMs),
    ...resource.gone.values(),
  ];
  return ends.length === 0 ? undefined : Math.min(...ends);
}

/** Tells the holders that others wait. */
export function tellHolders(resource: Resource): void {
  const waiters = resource.queue.size;
  for (const { request } of resource.holders.values()) {
    queueMicrotask(() => request.onWaiters(waiters));
  }
}

/** What a holder is told. */
export function grantOf(resource: Resource, holder: Holder, nowMs: number): SpaceGrant {
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
