import { abortable, throwIfAborted } from '../../../core/abort.js';
import { closedError } from '../../../core/errors.js';
import type { Grant, GrantRequest, LockBackend, LockNode } from '../../../lock/driver.js';
import { loseGrant } from '../../../lock/lose-grant.js';
import { redisCalls } from '../calls.js';
import type { RedisClient } from '../client.js';
import { readRedisSettings } from '../guarantees.js';
import type { RedisKeys } from '../keys.js';
import { replicaWait, type WaitReplicasOptions } from '../wait-replicas.js';
import { background } from './background.js';
import { type ContendParts, contend, notStarted } from './contend.js';
import { keyOf, type RedisLockContext, type RedisLockTimes } from './context.js';
import { heldGrants } from './held.js';
import { lockInbox } from './inbox.js';
import { cancel, release } from './let-go.js';
import { waitingLine } from './line.js';
import { listResources } from './listing.js';
import { INSPECT } from './look.js';
import { assertRedisVersion, lockGuarantees } from './promises.js';
import { RESERVE } from './renew.js';
import { renewals } from './renewals.js';
import { replicated } from './replicated.js';
import { forcedError, parseInspection, parseNumber } from './reply.js';
import { acquireSeveral } from './several.js';
import { downgrade, forceRelease } from './verbs.js';
import { countWaiters } from './wanted.js';
import { watching } from './watching.js';

/** One lock of this process on a Redis. Sends nothing until it is asked for something. */
export function redisLockBackend(options: {
  readonly client: RedisClient;
  readonly keys: RedisKeys;
  readonly times: RedisLockTimes;
  readonly node: LockNode;
  readonly waitReplicas?: WaitReplicasOptions | undefined;
}): LockBackend {
  const { client, keys, times, node, waitReplicas: wait } = options;
  const calls = redisCalls({ client, clock: node.clock, timeoutMs: times.replyTimeoutMs });
  const plainTerms = { ttlMs: 0, lockDelayMs: 0, text: '' };
  const context: RedisLockContext = { node, calls, keys, times, plainTerms };
  const grants = heldGrants(node);
  const work = background(node);
  const line = waitingLine(context);
  const inbox = lockInbox(context, {
    onGranted: (grantId, pushed) => line.tell(grantId, pushed),
    onWaiters: (grantId, waiters) => grants.get(grantId)?.grant.onWaiters?.(waiters),
    onForced(grantId, why) {
      const grant = grants.get(grantId)?.grant;
      if (grant !== undefined) {
        loseGrant(grant, forcedError(grant.resource, grant.fencingToken, why));
      }
    },
    onChanged: (tag) => watchers.tell(tag),
    onListening() {
      line.askAll();
      watchers.tellAll();
      countWaiters(context, grants);
    },
  });
  const watchers = watching(context, inbox);
  const replicas = wait && replicaWait({ client, clock: node.clock, ...times, wait });
  const renewAll = renewals({ context, grants, calls: replicas?.calls });
  const contenders: ContendParts = {
    context,
    line,
    grants,
    cancel: (resource, grantId, ttlMs) => cancel({ context, work }, resource, grantId, ttlMs),
  };
  let isClosed = false;
  let isReady = false;
  let preparing: Promise<void> | undefined;

  /** One look at the server, for however many ask at the start. */
  const prepare = (signal: AbortSignal): Promise<void> => {
    const opened = (): void => {
      isReady = true;
      if (!isClosed) inbox.open();
    };
    preparing ??= assertRedisVersion(calls, {})
      .then(opened, (error: unknown) => {
        throw notStarted(error);
      })
      .finally(() => {
        preparing = undefined;
      });
    return abortable(preparing, signal);
  };
  const assertOpen = (): void => {
    if (isClosed) throw closedError('the redis lock');
  };
  const ready = async (signal: AbortSignal): Promise<void> => {
    throwIfAborted(signal);
    await prepare(signal);
    throwIfAborted(signal);
    assertOpen();
  };

  const acquireFirst = async (request: GrantRequest): Promise<Grant | undefined> => {
    assertOpen();
    await ready(request.signal);
    return contend(contenders, request);
  };

  const renew: LockBackend['renew'] = (list, ttlMs) =>
    renewAll(list.map((grant, index) => ({ grant, ttlMs: ttlMs[index] ?? grant.validity.forMs })));

  const backend: LockBackend = {
    acquire(request) {
      if (isReady && !isClosed) return contend(contenders, request);
      return acquireFirst(request);
    },
    async acquireAll(requests) {
      assertOpen();
      const [first] = requests;
      if (!isReady && first !== undefined) await ready(first.signal);
      return acquireSeveral(contenders, requests);
    },
    renew,
    release: (grant, callOptions) => release({ context, grants, work }, grant, callOptions),
    downgrade: (grant, callOptions) => downgrade({ context, grants }, grant, callOptions),
    async reserveTokens({ resource, grantId }, tokens, callOptions) {
      const keysOfIt = [keyOf(context, resource)];
      const reply = await calls.script(RESERVE, keysOfIt, [grantId, tokens], callOptions);
      return parseNumber(reply, resource);
    },
    async inspect(resource, callOptions) {
      const reply = await calls.script(INSPECT, [keyOf(context, resource)], [], callOptions);
      return parseInspection(reply, resource);
    },
    list: (prefix, callOptions) => listResources(context, prefix, callOptions),
    forceRelease: (resource, reason, callOptions) =>
      forceRelease(context, resource, reason, callOptions),
    watch(resource, changed, signal) {
      if (isClosed) return;
      inbox.open();
      watchers.watch(resource, changed, signal);
    },
    async guarantees(callOptions) {
      return lockGuarantees(await readRedisSettings(calls, callOptions));
    },
    async close() {
      isClosed = true;
      watchers.close();
      inbox.close();
      line.close();
      work.close();
      calls.dispose();
    },
  };
  return wait && replicas ? replicated(backend, replicas, wait) : backend;
}
