import type { Clock } from '../../core/clock.js';
import type { LockInspection } from '../../lock/driver.js';
import {
  type AcquireReply,
  fits,
  grantOf,
  inspection,
  knownAttempt,
  refuseOtherCapacity,
  type SpaceGrant,
  type SpaceRequest,
  tellHolders,
} from './lock-resource.js';
import { resourceTable } from './lock-table.js';
import { tokenSource } from './lock-tokens.js';

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
  const takeTokens = tokenSource(clock);
  const table = resourceTable(clock, takeTokens);

  return {
    acquire: (request) =>
      table.on(request.resource, (resource) => {
        const known = knownAttempt(resource, request.grantId, clock.monotonicMs());
        if (known !== undefined) return known;
        refuseOtherCapacity(resource, request);
        if (resource.queue.size === 0 && fits(resource, request)) {
          return { state: 'granted', grant: table.hold(resource, request) };
        }
        if (!request.wait) return { state: 'busy' };
        resource.queue.set(request.grantId, { request, since: clock.monotonicMs() });
        tellHolders(resource);
        return { state: 'queued' };
      }),
    renew: (name, grantId, ttlMs) =>
      table.on(name, (resource) => {
        const held = resource.holders.get(grantId);
        if (held === undefined) return undefined;
        const nowMs = clock.monotonicMs();
        held.expiresAtMs = nowMs + ttlMs;
        return grantOf(resource, held, nowMs);
      }),
    release: (name, grantId) =>
      table.on(name, (resource) => (resource.holders.delete(grantId) ? 'released' : 'lost')),
    cancel: (name, grantId, ttlMs) =>
      table.on(name, (resource) => {
        resource.queue.delete(grantId);
        resource.holders.delete(grantId);
        resource.gone.set(grantId, clock.monotonicMs() + ttlMs);
      }),
    reserveTokens: (name, grantId, tokens) =>
      table.on(name, (resource) =>
        resource.holders.has(grantId) ? takeTokens(tokens) : undefined,
      ),
    inspect: (name) =>
      table.on(name, (resource) => inspection(name, resource, clock.monotonicMs())),
    get size() {
      return table.size;
    },
  };
}
