import { throwIfAborted } from '../../../core/abort.js';
import { CoordinationError, closedError } from '../../../core/errors.js';
import { invalidArgument } from '../../../core/validate.js';
import type { Grant, GrantRequest, LockBackend, LockNode } from '../../../lock/driver.js';
import { lockLostError } from '../../../lock/errors.js';
import { loseGrant } from '../../../lock/lose-grant.js';
import { redisCalls } from '../calls.js';
import type { RedisClient } from '../client.js';
import type { RedisKeys } from '../keys.js';
import { background } from '../lock/background.js';
import { heldGrants } from '../lock/held.js';
import { type ContendParts, contend } from './contend.js';
import type { QuorumContext, QuorumTimes } from './context.js';
import type { HeldGrant } from './held.js';
import { quorumInbox } from './inbox.js';
import { release } from './let-go.js';
import { forceRelease, inspect, list } from './look.js';
import { readQuorumGuarantees } from './promises.js';
import { renewAll } from './renewals.js';
import { reserve } from './reserve.js';
import { turns } from './turns.js';

/** One lock of this process on several masters. Sends nothing until it is asked for something. */
export function quorumLockBackend(options: {
  readonly clients: readonly RedisClient[];
  readonly keys: RedisKeys;
  readonly times: QuorumTimes;
  readonly node: LockNode;
}): LockBackend {
  const { clients, keys, times, node } = options;
  const nodes = clients.map((client, index) => ({
    number: index + 1,
    calls: redisCalls({ client, clock: node.clock, timeoutMs: times.nodeTimeoutMs }),
  }));
  const context: QuorumContext = { node, nodes, keys, times };
  const grants = heldGrants<HeldGrant>(node);
  const waiting = turns(node.clock, nodes.length);
  const parts: ContendParts = { context, grants, turns: waiting, work: background(node) };
  const closing = new AbortController();
  const inbox = quorumInbox(context, {
    onTurn: (grantId, from) => waiting.tell(grantId, from),
    onWaiters: (grantId, waiters) => grants.get(grantId)?.grant.onWaiters?.(waiters),
    onForced(grantId, reason) {
      const grant = grants.get(grantId)?.grant;
      if (grant === undefined) return;
      loseGrant(grant, lockLostError(grant.resource, grant.fencingToken, reason));
    },
    onListening: () => waiting.wakeAll(),
  });

  return {
    async acquire(request) {
      throwIfAborted(request.signal);
      if (closing.signal.aborted) throw closedError('the redis quorum lock');
      assertSupported(request, times);
      inbox.open();
      return contend(parts, request);
    },
    renew: (held, ttlMs) => renewAll(parts, held, ttlMs),
    release: (grant, callOptions) => release(parts, grant, callOptions),
    reserveTokens: (grant, tokens) => reserve(parts, grant, tokens),
    downgrade: async () => {
      throw onlyExclusive('shared');
    },
    inspect: (resource, callOptions) => inspect(context, resource, callOptions),
    list: (prefix, callOptions) => list(context, prefix, callOptions),
    forceRelease: (resource, reason, callOptions) =>
      forceRelease(context, resource, reason, callOptions),
    guarantees: (callOptions) => readQuorumGuarantees(context, callOptions),
    async close() {
      closing.abort();
      inbox.close();
      parts.work.close();
      for (const { calls } of nodes) calls.dispose();
    },
  };
}

/** Refuses what cannot be right on a majority, before anything is sent. */
function assertSupported(
  { mode, ttlMs, lockDelayMs = 0 }: GrantRequest,
  { ttlMsMax }: QuorumTimes,
): void {
  if (mode !== 'exclusive') throw onlyExclusive(mode);
  if (ttlMs + lockDelayMs <= ttlMsMax) return;
  const remedy = `at most ${ttlMsMax} ms with its lockDelayMs: the ttlMsMax of redisQuorumLock, for which a node stays out that lost its state`;
  throw invalidArgument('ttlMs', ttlMs, remedy);
}

function onlyExclusive(mode: Grant['mode']): unknown {
  return new CoordinationError(
    'BACKEND_UNSUPPORTED',
    `redisQuorumLock grants exclusive locks only, not ${mode} ones; use redisLock or zookeeperLock for those`,
    { backend: 'redis', setting: 'mode', found: mode, needed: 'exclusive' },
  );
}
