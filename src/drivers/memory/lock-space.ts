import type { Clock } from '../../core/clock.js';
import type { LockInspection } from '../../lock/driver.js';
import { inspection } from './lock-inspection.js';
import {
  evict,
  fits,
  grantOf,
  noteLastToken,
  type Resource,
  refuseOtherKind,
  type SpaceGrant,
  type SpaceRequest,
  tellHolders,
} from './lock-resource.js';
import { resourceTable } from './lock-table.js';
import { tokenSource } from './lock-tokens.js';

/** The answer to an acquire. */
export type AcquireReply =
  | { readonly state: 'granted'; readonly grant: SpaceGrant }
  | { readonly state: 'queued' }
  | { readonly state: 'busy' }
  /** The grant id was used up: cancelled, released or expired. */
  | { readonly state: 'gone' };

/** One in-process server of locks: what Redis or ZooKeeper is to the other drivers. */
export interface LockSpace {
  acquire(request: SpaceRequest): AcquireReply;
  /** All of them, or none and undefined. None of them waits. */
  acquireAll(requests: readonly SpaceRequest[]): readonly SpaceGrant[] | undefined;
  /** Undefined when the grant is not held. */
  renew(resource: string, grantId: string, ttlMs: number): SpaceGrant | undefined;
  release(resource: string, grantId: string): 'released' | 'lost';
  /** Makes a writer a reader; undefined when the grant is not held. */
  downgrade(resource: string, grantId: string): SpaceGrant | undefined;
  /** Leaves the line, or releases what was granted meanwhile; an acquire that comes later is refused. */
  cancel(resource: string, grantId: string, ttlMs: number): void;
  reserveTokens(resource: string, grantId: string, tokens: number): bigint | undefined;
  /** Ends every grant; answers how many there were. */
  forceRelease(resource: string, why: string): number;
  waiters(resource: string): number;
  inspect(resource: string): LockInspection;
  list(prefix: string): readonly string[];
  watch(resource: string, changed: () => void): () => void;
  /** How many resources take up memory: zero when all is released and forgotten. */
  readonly size: number;
}

/**
 * Holders, queues and fences of all resources of one process. Every verb is idempotent per grant id,
 * in any order, as the contract of drivers asks, although in one process nothing is sent twice.
 */
export function lockSpace(clock: Clock): LockSpace {
  const takeTokens = tokenSource(clock);
  const table = resourceTable(clock, takeTokens);
  const contend = (resource: Resource, request: SpaceRequest): AcquireReply => {
    const known = knownAttempt(resource, request.grantId, clock.monotonicMs());
    if (known !== undefined) return known;
    refuseOtherKind(resource, request);
    if (resource.queue.size === 0 && fits(resource, request)) {
      return { state: 'granted', grant: table.hold(resource, request) };
    }
    if (!request.wait) return { state: 'busy' };
    resource.queue.set(request.grantId, { request, since: clock.monotonicMs() });
    tellHolders(resource);
    return { state: 'queued' };
  };

  return {
    acquire: (request) => table.on(request.resource, (resource) => contend(resource, request)),
    acquireAll(requests) {
      const isFree = (request: SpaceRequest): boolean =>
        table.on(request.resource, (resource) => {
          refuseOtherKind(resource, request);
          return resource.queue.size === 0 && fits(resource, request);
        });
      if (!requests.every(isFree)) return undefined;
      return requests.map((request) =>
        table.on(request.resource, (resource) => table.hold(resource, request)),
      );
    },
    renew: (name, grantId, ttlMs) =>
      table.on(name, (resource) => {
        const held = resource.holders.get(grantId);
        if (held === undefined) return undefined;
        const nowMs = clock.monotonicMs();
        held.ttlMs = ttlMs;
        held.expiresAtMs = nowMs + ttlMs;
        return grantOf(resource, held, nowMs);
      }),
    release: (name, grantId) =>
      table.on(name, (resource) => {
        if (!resource.holders.delete(grantId)) return 'lost';
        resource.changeCount += 1;
        return 'released';
      }),
    downgrade: (name, grantId) =>
      table.on(name, (resource) => {
        const held = resource.holders.get(grantId);
        if (held === undefined) return undefined;
        if (held.mode === 'exclusive') {
          held.mode = 'shared';
          held.fencingToken = held.lastToken;
          resource.changeCount += 1;
        }
        return grantOf(resource, held, clock.monotonicMs());
      }),
    cancel: (name, grantId, ttlMs) =>
      table.on(name, (resource) => {
        resource.queue.delete(grantId);
        if (resource.holders.delete(grantId)) resource.changeCount += 1;
        resource.gone.set(grantId, clock.monotonicMs() + ttlMs);
      }),
    reserveTokens: (name, grantId, tokens) =>
      table.on(name, (resource) => {
        const held = resource.holders.get(grantId);
        if (held?.mode !== 'exclusive') return undefined;
        const first = takeTokens(tokens);
        noteLastToken(resource, held, first + BigInt(tokens) - 1n);
        return first;
      }),
    forceRelease: (name, why) =>
      table.on(name, (resource) => evict(resource, clock.monotonicMs(), why)),
    waiters: (name) => table.on(name, (resource) => resource.queue.size),
    inspect: (name) =>
      table.on(name, (resource) => inspection(name, resource, clock.monotonicMs())),
    list: (prefix) => table.names().filter((name) => name.startsWith(prefix)),
    watch: table.watch,
    get size() {
      return table.size;
    },
  };
}

/** The answer to an acquire that was sent before: the same again, or that its attempt is over. */
function knownAttempt(
  resource: Resource,
  grantId: string,
  nowMs: number,
): AcquireReply | undefined {
  const held = resource.holders.get(grantId);
  if (held !== undefined) return { state: 'granted', grant: grantOf(resource, held, nowMs) };
  if (resource.gone.has(grantId)) return { state: 'gone' };
  return resource.queue.has(grantId) ? { state: 'queued' } : undefined;
}
