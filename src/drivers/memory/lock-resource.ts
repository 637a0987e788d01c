import type { GrantRequest, LockMode } from '../../lock/driver.js';
import { capacityMismatchError } from '../../lock/errors.js';

/** A request as it stands in the space: what was asked, under which grant id. */
export interface SpaceRequest extends Omit<GrantRequest, 'signal'> {
  readonly grantId: string;
  /** Told when the request's turn comes, if it had to wait. */
  readonly onGranted: (granted: SpaceGrant) => void;
  /** Told when the grant ended without a release; `why` when somebody ended it. */
  readonly onLost: (why: string | undefined) => void;
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

/** Who holds it. */
export interface Holder {
  readonly request: SpaceRequest;
  /** As it was asked for, or `shared` after a downgrade. */
  mode: LockMode;
  fencingToken: bigint | undefined;
  /** The last one that was reserved. */
  lastToken: bigint | undefined;
  readonly grantedAtMs: number;
  /** What the latest renewal, or the acquire, asked for. */
  ttlMs: number;
  expiresAtMs: number;
}

/** Who stands in line. */
export interface Waiter {
  readonly request: SpaceRequest;
  readonly since: number;
}

/** A holder that ended without a release, and until when nobody else gets what it held. */
export interface Mourned {
  readonly holder: Holder;
  readonly untilMs: number;
}

/** One resource of the space. */
export interface Resource {
  readonly holders: Map<string, Holder>;
  readonly queue: Map<string, Waiter>;
  readonly mourned: Mourned[];
  /** Grant ids that ended, and until when they are remembered. */
  readonly gone: Map<string, number>;
  /** The last token of the last exclusive grant: what all shared grants carry until the next. */
  epoch: bigint | undefined;
  /** How often it came into other hands. */
  changeCount: number;
  /** When it is looked at next by itself. */
  looksAtMs: number;
  /** Whether that look keeps the process running: somebody waits for it. */
  keepsAlive: boolean;
  cancelLook: () => void;
}

/** A resource that nobody holds or wants. */
export function freeResource(epoch?: bigint): Resource {
  return {
    holders: new Map(),
    queue: new Map(),
    mourned: [],
    gone: new Map(),
    epoch,
    changeCount: 0,
    looksAtMs: Number.POSITIVE_INFINITY,
    keepsAlive: false,
    cancelLook: () => {},
  };
}

/** Takes a block of fencing tokens. */
export type TakeTokens = (count: number) => bigint;

/** Grants a request that fits. */
export function holdResource(
  resource: Resource,
  request: SpaceRequest,
  takeTokens: TakeTokens,
  nowMs: number,
): SpaceGrant {
  const { mode, tokens, grantId, ttlMs } = request;
  const holder: Holder = {
    request,
    mode,
    fencingToken: undefined,
    lastToken: undefined,
    grantedAtMs: nowMs,
    ttlMs,
    expiresAtMs: nowMs + ttlMs,
  };
  if (mode === 'exclusive') {
    holder.fencingToken = takeTokens(tokens);
    noteLastToken(resource, holder, holder.fencingToken + BigInt(tokens) - 1n);
  }
  if (mode === 'shared') {
    resource.epoch ??= takeTokens(1);
    holder.fencingToken = resource.epoch;
  }
  resource.holders.set(grantId, holder);
  resource.changeCount += 1;
  return grantOf(resource, holder, nowMs);
}

/** An exclusive holder has tokens up to this one; who reads after it carries this one. */
export function noteLastToken(resource: Resource, holder: Holder, token: bigint): void {
  holder.lastToken = token;
  resource.epoch = token;
}

/** Exclusive: alone. Shared: beside readers. Counting: while the permits in use leave room. */
export function fits(resource: Resource, { mode, permits, capacity }: SpaceRequest): boolean {
  const { holders, mourned } = resource;
  if (holders.size === 0 && mourned.length === 0) return permits <= capacity;
  if (mode === 'exclusive') return false;
  let used = 0;
  for (const other of holders.values()) {
    if (other.mode !== mode) return false;
    used += other.request.permits;
  }
  // What the dead left is taken until its delay is over.
  for (const { holder } of mourned) {
    if (holder.mode !== mode) return false;
    used += holder.request.permits;
  }
  return used + permits <= capacity;
}

/** Everybody who is there now uses the resource in one way, up to one capacity. */
export function refuseOtherKind(resource: Resource, request: SpaceRequest): void {
  const other = anyRequest(resource);
  if (other === undefined || kindOf(other) === kindOf(request)) return;
  throw capacityMismatchError(request.resource, countedTo(request), countedTo(other));
}

const kindOf = (request: SpaceRequest): number =>
  request.mode === 'counting' ? request.capacity : 0;

const countedTo = (request: SpaceRequest): number =>
  request.mode === 'counting' ? request.capacity : 1;

function anyRequest({ holders, queue }: Resource): SpaceRequest | undefined {
  for (const { request } of holders.values()) return request;
  for (const { request } of queue.values()) return request;
  return undefined;
}

/** Ends what has expired, and forgets what is remembered long enough. */
export function prune(resource: Resource, nowMs: number): void {
  const { holders, mourned, gone } = resource;
  for (const holder of holders.values()) {
    if (holder.expiresAtMs > nowMs) continue;
    end(resource, holder, nowMs, undefined);
    const { lockDelayMs = 0 } = holder.request;
    const untilMs = holder.expiresAtMs + lockDelayMs;
    if (untilMs > nowMs) mourned.push({ holder, untilMs });
  }
  for (let index = mourned.length - 1; index >= 0; index -= 1) {
    if ((mourned[index]?.untilMs ?? 0) <= nowMs) mourned.splice(index, 1);
  }
  for (const [grantId, untilMs] of gone) {
    if (untilMs <= nowMs) gone.delete(grantId);
  }
}

/** Ends every grant, and what earlier ones left behind. */
export function evict(resource: Resource, nowMs: number, why: string): number {
  const holders = Array.from(resource.holders.values());
  for (const holder of holders) end(resource, holder, nowMs, why);
  resource.mourned.length = 0;
  return holders.length;
}

function end(resource: Resource, holder: Holder, nowMs: number, why: string | undefined): void {
  const { grantId, onLost } = holder.request;
  resource.holders.delete(grantId);
  resource.changeCount += 1;
  // A delayed acquire of this id must not take the resource again.
  resource.gone.set(grantId, nowMs + holder.ttlMs);
  queueMicrotask(() => onLost(why));
}

/** When something ends by itself next; infinity when nothing is left. */
export function nextEventMs({ holders, mourned, gone }: Resource): number {
  let nextMs = Number.POSITIVE_INFINITY;
  for (const { expiresAtMs } of holders.values()) nextMs = Math.min(nextMs, expiresAtMs);
  for (const { untilMs } of mourned) nextMs = Math.min(nextMs, untilMs);
  for (const untilMs of gone.values()) nextMs = Math.min(nextMs, untilMs);
  return nextMs;
}

/** Whether there is nothing to remember but the epoch. */
export function isEmpty({ holders, queue, mourned, gone }: Resource): boolean {
  return holders.size + queue.size + mourned.length + gone.size === 0;
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
  const { request, mode, fencingToken, expiresAtMs } = holder;
  return {
    fencingToken,
    tokens: mode === 'exclusive' ? request.tokens : 1,
    remainingMs: expiresAtMs - nowMs,
    waiters: resource.queue.size,
  };
}
