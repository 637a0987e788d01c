import type { Clock } from '../../core/clock.js';
import { epochs } from './lock-epochs.js';
import {
  fits,
  freeResource,
  holdResource,
  isEmpty,
  nextEventMs,
  prune,
  type Resource,
  type SpaceGrant,
  type SpaceRequest,
  type TakeTokens,
} from './lock-resource.js';

/** The resources that somebody holds, wants or is remembered for; each is served as time goes on. */
export interface ResourceTable {
  /** Runs one verb on a resource: those whose time is over go first, and those in line are served. */
  on<T>(name: string, verb: (resource: Resource) => T): T;
  /** Grants a request that fits. */
  hold(resource: Resource, request: SpaceRequest): SpaceGrant;
  /** Calls `changed` whenever the resource came into other hands, until the function is called. */
  watch(name: string, changed: () => void): () => void;
  /** The names of all that is there. */
  names(): readonly string[];
  /** How many resources take up memory. */
  readonly size: number;
}

/** An empty table. */
export function resourceTable(clock: Clock, takeTokens: TakeTokens): ResourceTable {
  const resources = new Map<string, Resource>();
  const watchers = new Map<string, Set<() => void>>();
  const idle = epochs(clock);
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
  const settle = (name: string, resource: Resource, changeCount: number): void => {
    if (resource.changeCount !== changeCount) tell(watchers.get(name));
    if (isEmpty(resource)) {
      resource.cancelLook();
      resources.delete(name);
      if (resource.epoch !== undefined) idle.keep(name, resource.epoch);
      return;
    }
    const nextMs = nextEventMs(resource);
    const keepAlive = resource.queue.size > 0;
    // What was renewed meanwhile is found out by looking, which sets the next time.
    if (nextMs >= resource.looksAtMs && keepAlive === resource.keepsAlive) return;
    resource.cancelLook();
    resource.looksAtMs = nextMs;
    resource.keepsAlive = keepAlive;
    if (nextMs === Number.POSITIVE_INFINITY) return;
    const lookAgain = (): void => {
      resource.looksAtMs = Number.POSITIVE_INFINITY;
      const before = resource.changeCount;
      serve(resource);
      settle(name, resource, before);
    };
    const delayMs = nextMs - clock.monotonicMs();
    resource.cancelLook = clock.schedule(delayMs, lookAgain, { keepAlive });
  };
  return {
    on(name, verb) {
      const resource = resources.get(name) ?? freeResource(idle.take(name));
      const before = resource.changeCount;
      resources.set(name, resource);
      // Those who wait come before whoever asks now.
      serve(resource);
      try {
        return verb(resource);
      } finally {
        serve(resource);
        settle(name, resource, before);
      }
    },
    hold,
    watch(name, changed) {
      const audience = watchers.get(name) ?? new Set();
      // The same callback may watch twice.
      const seat = (): void => changed();
      watchers.set(name, audience.add(seat));
      return () => {
        audience.delete(seat);
        if (audience.size === 0 && watchers.get(name) === audience) watchers.delete(name);
      };
    },
    names: () => Array.from(resources.keys()),
    get size() {
      return resources.size;
    },
  };
}

function tell(audience: ReadonlySet<() => void> | undefined): void {
  for (const changed of audience ?? []) queueMicrotask(changed);
}
