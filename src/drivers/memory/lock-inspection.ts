import type { LockInspection, LockParty } from '../../lock/driver.js';
import type { Holder, Resource, SpaceRequest } from './lock-resource.js';

/** Who holds and who waits. */
export function inspection(name: string, resource: Resource, nowMs: number): LockInspection {
  const { holders, queue } = resource;
  return {
    resource: name,
    holders: Array.from(holders.values(), (holder) => holderParty(holder, nowMs)),
    waiters: Array.from(queue.values(), ({ request, since }) => party(request, nowMs - since)),
  };
}

function party({ owner, grantId, mode, permits }: SpaceRequest, ageMs: number): LockParty {
  return { owner, grantId, mode, permits, ageMs };
}

function holderParty(holder: Holder, nowMs: number): LockParty {
  const { request, mode, fencingToken, grantedAtMs, expiresAtMs } = holder;
  const remainingMs = expiresAtMs - nowMs;
  return { ...party(request, nowMs - grantedAtMs), mode, fencingToken, remainingMs };
}
