import type { Grant, GrantRequest, LockBackend } from '../../../lock/driver.js';
import { type ReplicaWait, type WaitReplicasOptions, withReplicas } from '../wait-replicas.js';

/** The same backend, whose grants and renewals count only once replicas have them. */
export function replicated(
  backend: LockBackend,
  replicas: ReplicaWait,
  wait: WaitReplicasOptions,
): LockBackend {
  const confirm = async (
    grants: readonly Grant[],
    requests: readonly GrantRequest[],
  ): Promise<void> => {
    const ttls = requests.map(({ ttlMs }) => ttlMs);
    try {
      await replicas.confirm(grants, () => backend.renew(grants, ttls));
    } catch (error) {
      // Nobody may rely on it; what cannot be released now is released in the background.
      for (const grant of grants) backend.release(grant).catch(() => {});
      throw error;
    }
  };
  return {
    ...backend,
    async acquire(request) {
      const grant = await backend.acquire(request);
      if (grant !== undefined) await confirm([grant], [request]);
      return grant;
    },
    async acquireAll(requests) {
      const grants = (await backend.acquireAll?.(requests)) ?? 'unsupported';
      if (typeof grants !== 'string') await confirm(grants, requests);
      return grants;
    },
    renew: (grants, ttlMs) => replicas.renew(() => backend.renew(grants, ttlMs)),
    async guarantees(options) {
      return withReplicas(await backend.guarantees(options), wait);
    },
    async close() {
      replicas.close();
      await backend.close();
    },
  };
}
