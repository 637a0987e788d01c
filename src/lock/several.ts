import type { Grant, GrantRequest, LockBackend } from './driver.js';
import { lockTimeoutError } from './errors.js';
import type { HeldLease } from './lease.js';
import { HeldSet, releaseAll } from './lease-set.js';
import { atMost } from './office.js';
import { type LockSelf, take } from './self.js';
import type { Claim } from './waiting-room.js';

/** When they are not all to be had, what was taken is given back for so long at most before that is told. */
const GIVE_BACK_MS_MAX = 250;

/**
 * Takes several resources, all or none: in one step where the backend can and all are free, otherwise
 * one after another in the order in which they are given, which every process has in common, so that
 * nobody waits in a circle (ordered resources, after Havender 1968).
 *
 * `nested` are leases that the task holds of some already. Undefined only when the claim does not wait.
 */
export async function takeSeveral(
  self: LockSelf,
  resources: readonly string[],
  claim: Claim,
  nested: ReadonlyMap<string, HeldLease>,
): Promise<HeldSet | undefined> {
  const { clock } = self.office.context.node;
  const startedMs = clock.monotonicMs();
  const taken = new Map(nested);
  try {
    const isTogether = await takeTogether(self, resources, claim, taken);
    for (const resource of isTogether ? [] : resources) {
      if (taken.has(resource)) continue;
      const waitedMs = clock.monotonicMs() - startedMs;
      if (waitedMs >= claim.waitMs) throw lockTimeoutError(resource, waitedMs, undefined);
      const lease = await take(self, resource, { ...claim, waitMs: claim.waitMs - waitedMs });
      if (lease === undefined) {
        await giveUp(self, taken);
        return undefined;
      }
      taken.set(resource, lease);
    }
  } catch (error) {
    await giveUp(self, taken);
    throw error;
  }
  return new HeldSet(resources.flatMap((resource) => taken.get(resource) ?? []));
}

function giveUp(self: LockSelf, taken: ReadonlyMap<string, HeldLease>): Promise<void> {
  const { clock } = self.office.context.node;
  return atMost(clock, GIVE_BACK_MS_MAX, releaseAll(Array.from(taken.values())));
}

/** Tries to take all at once, and adds those to `taken`. False, and nothing taken, when it cannot be done. */
async function takeTogether(
  self: LockSelf,
  resources: readonly string[],
  claim: Claim,
  taken: Map<string, HeldLease>,
): Promise<boolean> {
  const { office } = self;
  const wanted = resources.filter((resource) => !taken.has(resource));
  if (office.context.backend.acquireAll === undefined || wanted.length < 2) return false;
  office.assertOpen();
  if (!wanted.every((resource) => office.isFreeHere(resource))) return false;
  const step = oneStep(office.context.backend);
  const ask = step.ask;
  const together: Claim = { ...claim, wait: false, ask };
  const takings = wanted.map((resource) => take(self, resource, together));
  step.send();
  const endings = await Promise.allSettled(takings);
  const leases = endings.flatMap((ending) =>
    ending.status === 'fulfilled' ? (ending.value ?? []) : [],
  );
  if (leases.length === wanted.length) {
    for (const lease of leases) taken.set(lease.resource, lease);
    return true;
  }
  await giveUp(self, new Map(leases.map((lease) => [lease.resource, lease])));
  const failed = endings.find((ending) => ending.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return false;
}

/** Collects the requests of several contenders and sends them as one. */
function oneStep(backend: LockBackend) {
  const requests: GrantRequest[] = [];
  const answers: ((grants: Promise<readonly Grant[] | undefined>) => void)[] = [];
  return {
    ask(request: GrantRequest): Promise<Grant | undefined> {
      const place = requests.push(request) - 1;
      return new Promise((resolve, reject) => {
        answers.push((grants) => grants.then((all) => resolve(all?.[place]), reject));
      });
    },
    send(): void {
      if (requests.length === 0) return;
      const grants = takeAll(backend, requests);
      for (const answer of answers) answer(grants);
    },
  };
}

async function takeAll(
  backend: LockBackend,
  requests: readonly GrantRequest[],
): Promise<readonly Grant[] | undefined> {
  const taken = await backend.acquireAll?.(requests);
  return taken === undefined || typeof taken === 'string' ? undefined : taken;
}
