import type {
  Grant,
  GrantRequest,
  LockBackend,
  LockDriver,
  LockNode,
  RenewReply,
} from '../lock/driver.js';
import { unanswered, type Weather } from './chaos-weather.js';

/** How often, and how long apart, what chaos has to undo is tried again. */
const UNDO_TIMES_MAX = 20;
const UNDO_MS_MIN = 5;

/** A lock driver in this weather. */
export function stormyLock(driver: LockDriver, weather: Weather): LockDriver {
  const { backend } = driver;
  return { backend, open: (node) => stormyBackend(driver.open(node), weather, backend, node) };
}

function stormyBackend(
  calm: LockBackend,
  weather: Weather,
  backend: string,
  { clock }: LockNode,
): LockBackend {
  /** Ends a grant that nobody knows of, as the contract wants of a driver. */
  const letGo = (grant: Grant, times = 1): void => {
    const again = (): void => {
      if (times < UNDO_TIMES_MAX)
        clock.schedule(UNDO_MS_MIN * 2 ** times, () => letGo(grant, times + 1));
    };
    calm.release(grant).catch(again);
  };
  const call = <T>(operation: string, send: () => Promise<T>, signal?: AbortSignal) =>
    weather.pass({ backend, operation, send, signal: () => signal, isRepeatable: true });

  const stormy: LockBackend = {
    acquire: (request) => acquire(calm, weather, backend, request, letGo),
    renew: (grants, ttlMs) => renew(calm, weather, backend, grants, ttlMs),
    release: (grant, options) =>
      weather.pass({
        ...{ backend, operation: 'release', isRepeatable: true },
        send: () => calm.release(grant, options),
        signal: () => options?.signal,
        abandoned: () => letGo(grant),
      }),
    downgrade: (grant, options) =>
      call('downgrade', () => calm.downgrade(grant, options), options?.signal),
    reserveTokens: (grant, tokens, options) =>
      call('reserveTokens', () => calm.reserveTokens(grant, tokens, options), options?.signal),
    inspect: (resource, options) =>
      call('inspect', () => calm.inspect(resource, options), options?.signal),
    list: (prefix, options) => calm.list(prefix, options),
    forceRelease: (resource, reason, options) =>
      weather.pass({
        ...{ backend, operation: 'forceRelease', signal: () => options?.signal },
        send: () => calm.forceRelease(resource, reason, options),
      }),
    guarantees: (options) => calm.guarantees(options),
    close: () => calm.close(),
  };
  return Object.assign(stormy, optionalVerbs(calm, weather, backend, letGo));
}

/** What a driver may leave out is left out here too. */
function optionalVerbs(
  calm: LockBackend,
  weather: Weather,
  backend: string,
  letGo: (grant: Grant) => void,
): Partial<LockBackend> {
  const verbs: Partial<LockBackend> = {};
  if (calm.acquireAll !== undefined) {
    verbs.acquireAll = (requests) =>
      weather.pass({
        ...{ backend, operation: 'acquireAll' },
        send: async () => (await calm.acquireAll?.(requests)) ?? 'unsupported',
        undo: (taken) => {
          if (typeof taken !== 'string') for (const grant of taken) letGo(grant);
        },
      });
  }
  if (calm.watchWaiters !== undefined) {
    verbs.watchWaiters = (grant) => calm.watchWaiters?.(grant);
  }
  if (calm.watch !== undefined) {
    verbs.watch = (resource, changed, signal) => {
      const heard = (): void => {
        if (!weather.losesHint('watch')) changed();
      };
      calm.watch?.(resource, heard, signal);
    };
  }
  return verbs;
}

async function acquire(
  calm: LockBackend,
  weather: Weather,
  backend: string,
  request: GrantRequest,
  letGo: (grant: Grant) => void,
): Promise<Grant | undefined> {
  const grant = await weather.pass({
    ...{ backend, operation: 'acquire' },
    send: () => calm.acquire(request),
    // Reading it makes the engine build it, so only a call that is held back does.
    signal: () => request.signal,
    undo: (won) => {
      if (won !== undefined) letGo(won);
    },
  });
  if (grant !== undefined) muffle(grant, weather);
  return grant;
}

/** Loses some of the calls of `onWaiters`; the grant stays the object that its driver knows. */
function muffle(grant: Grant, weather: Weather): void {
  let listener = grant.onWaiters;
  const heard = (waiters: number): void => {
    if (!weather.losesHint('onWaiters')) listener?.(waiters);
  };
  Object.defineProperty(grant, 'onWaiters', {
    configurable: true,
    enumerable: true,
    get: () => (listener === undefined ? undefined : heard),
    set: (next: Grant['onWaiters']) => {
      listener = next;
    },
  });
}

/** Never rejects: what is lost answers `unknown` for each grant of the batch. */
async function renew(
  calm: LockBackend,
  weather: Weather,
  backend: string,
  grants: readonly Grant[],
  ttlMs: readonly number[],
): Promise<readonly RenewReply[]> {
  const cause = unanswered(backend, 'renew');
  const unknown = grants.map((): RenewReply => ({ state: 'unknown', cause }));
  const plan = weather.draw('renew');
  if (plan.beforeMs > 0) await weather.hold(plan.beforeMs);
  if (plan.isRefused || plan.isRequestLost) return unknown;
  if (plan.isDuplicated) await calm.renew(grants, ttlMs);
  const replies = await calm.renew(grants, ttlMs);
  if (plan.afterMs > 0) await weather.hold(plan.afterMs);
  return plan.isReplyLost ? unknown : replies;
}
