import type { Clock } from '../../core/clock.js';
import {
  fits,
  freeResource,
  holdResource,
  nextEventMs,
  prune,
  type Resource,
  type SpaceGrant,
  type SpaceRequest,
} from './lock-resource.js';

/** The resources that somebody holds, wants or is remembered for; each is served as time goes on. */
export interface ResourceTable {
  /** Runs one verb on a resource: those whose time is over go first, and those in line are served. */
  on<T>(name: string, verb: (resource: Resource) => T): T;
  /** Grants a request that fits. */
  hold(resource: Resource, request: SpaceRequest): SpaceGrant;
  /** How many resources take up memory. */
  readonly size: number;
}

/** An empty table. */
export function resourceTable(clock: Clock, takeTokens: (count: number) => bigint): ResourceTable {
  const resources = new Map<string, Resource>();
  const hold = (resource: Resource, request: SpaceRequest): SpaceGrant =>
    holdResource(resource, request, takeTokens, clock.monotonicMs());

  /** Ends what has expired, and serves those in line who fit now. */
  const serve = (resource: Resource): void => {
    prune(resource, clock.monotonicMs());
    for (const { request } of resource.queue.values()) {
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
  return {
    on(name, verb) {
      const resource = resources.get(name) ?? freeResource();
      resources.set(name, resource);
      // Those who wait come before whoever asks now.
      serve(resource);
      try {
        return verb(resource);
      } finally {
        serve(resource);
        watch(name, resource);
      }
    },
    hold,
    get size() {
      return resources.size;
    },
  };
}
