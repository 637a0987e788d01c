import type { Clock } from '../../core/clock.js';
import type { LockInspection } from '../../lock/driver.js';
import {
  type AcquireReply,
  fits,
  freeResource,
  grantOf,
  holdResource,
  inspection,
  knownAttempt,
  nextEventMs,
  prune,
  type Resource,
  refuseOtherCapacity,
  type SpaceGrant,
  type SpaceRequest,
  tellHolders,
} from './lock-resource.js';
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
  const resources = new Map<string, Resource>();
  const takeTokens = tokenSource(clock);

  const open = (name: string): Resource => {
    const resource = resources.get(name) ?? freeResource();
    resources.set(name, resource);
    return resource;
  };
  const hold = (resource: Resource, request: SpaceRequest): SpaceGrant =>
    holdResource(resource, request, takeTokens, clock.monotonicMs());
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
        const known = knownAttempt(resource, request.grantId, clock.monotonicMs());
        if (known !== undefined) return known;
        refuseOtherCapacity(resource, request);
        if (resource.queue.size === 0 && fits(resource, request)) {
          return { state: 'granted', grant: hold(resource, request) };
        }
        if (!request.wait) return { state: 'busy' };
        resource.queue.set(request.grantId, { request, since: clock.monotonicMs() });
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
    inspect: (name) => on(name, (resource) => inspection(name, resource, clock.monotonicMs())),
    get size() {
      return resources.size;
    },
  };
}
