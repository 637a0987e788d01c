import { throwIfAborted } from '../../../core/abort.js';
import { closedError } from '../../../core/errors.js';
import type { Grant, GrantRequest, LockBackend, LockNode } from '../../../lock/driver.js';
import { unsupportedVerbs } from '../../../lock/unsupported-verbs.js';
import { redisCalls } from '../calls.js';
import type { RedisClient } from '../client.js';
import { readRedisSettings } from '../guarantees.js';
import type { RedisKeys } from '../keys.js';
import { background } from './background.js';
import { type ContendParts, contend, notStarted } from './contend.js';
import { keysOf, type RedisLockContext, type RedisLockTimes } from './context.js';
import { heldGrants } from './held.js';
import { lockInbox } from './inbox.js';
import { INSPECT } from './inspect.js';
import { cancel, release } from './let-go.js';
import { waitingLine } from './line.js';
import { assertRedisVersion, lockGuarantees } from './promises.js';
import { RESERVE } from './renew.js';
import { renewAll } from './renewals.js';
import { parseInspection, parseReserved } from './reply.js';

/** One lock of this process on a Redis. Sends nothing until it is asked for something. */
export function redisLockBackend(options: {
  readonly client: RedisClient;
  readonly keys: RedisKeys;
  readonly times: RedisLockTimes;
  readonly node: LockNode;
}): LockBackend {
  const { client, keys, times, node } = options;
  const calls = redisCalls({ client, clock: node.clock, timeoutMs: times.replyTimeoutMs });
  const context: RedisLockContext = { node, calls, keys, times };
  const grants = heldGrants(node);
  const work = background(node);
  const line = waitingLine(context);
  const inbox = lockInbox(context, {
    onGranted: (grantId) => line.ask(grantId),
    onWaiters: (grantId, waiters) => grants.get(grantId)?.grant.onWaiters?.(waiters),
    onListening: () => line.askAll(),
  });
  const contenders: ContendParts = {
    context,
    line,
    grants,
    cancel: (resource, grantId, ttlMs) => cancel({ context, work }, resource, grantId, ttlMs),
  };
  let isClosed = false;
  let isReady = false;

  const prepare = async (signal: AbortSignal): Promise<void> => {
    try {
      await assertRedisVersion(calls, { signal });
    } catch (error) {
      throw notStarted(error);
    }
    isReady = true;
    if (!isClosed) inbox.open();
  };
  const acquire = async (request: GrantRequest): Promise<Grant | undefined> => {
    throwIfAborted(request.signal);
    if (isClosed) throw closedError('the redis lock');
    if (!isReady) {
      await prepare(request.signal);
      throwIfAborted(request.signal);
      if (isClosed) throw closedError('the redis lock');
    }
    return contend(contenders, request);
  };

  return {
    ...unsupportedVerbs('redis'),
    acquire,
    renew: (list, ttlMs) =>
      renewAll(
        { context, grants },
        list.map((grant, index) => ({ grant, ttlMs: ttlMs[index] ?? grant.validity.forMs })),
      ),
    release: (grant, callOptions) => release({ context, grants, work }, grant, callOptions),
    async reserveTokens(grant, tokens, callOptions) {
      const [key] = keysOf(context, grant.resource);
      const reply = await calls.script(RESERVE, [key], [grant.grantId, tokens], callOptions);
      return parseReserved(reply, grant.resource);
    },
    async inspect(resource, callOptions) {
      const reply = await calls.script(INSPECT, keysOf(context, resource), [], callOptions);
      return parseInspection(reply, resource);
    },
    async guarantees(callOptions) {
      return lockGuarantees(await readRedisSettings(calls, callOptions));
    },
    async close() {
      isClosed = true;
      inbox.close();
      line.close();
      work.close();
      calls.dispose();
    },
  };
}
