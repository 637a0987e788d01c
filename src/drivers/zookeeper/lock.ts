import { throwIfAborted } from '../../core/abort.js';
import type { Clock, Validity } from '../../core/clock.js';
import { closedError } from '../../core/errors.js';
import { invalidArgument } from '../../core/validate.js';
import type {
  CallOptions,
  Grant,
  GrantRequest,
  LockBackend,
  LockDriver,
  LockNode,
  RenewReply,
} from '../../lock/driver.js';
import { unsupportedVerbs } from '../../lock/unsupported-verbs.js';
import type { Connection } from './connection.js';
import { ensembleGuarantees } from './guarantees.js';
import { contend, type WonPlace } from './lock-acquire.js';
import { firstTokenOf, TOKENS_PER_ZXID } from './lock-fence.js';
import { type HeldGrant, holdGrant } from './lock-grants.js';
import { inspectLine } from './lock-inspect.js';
import { releaseGrant, renewGrants, reserveBlock, watchWaiters } from './lock-keeping.js';
import { leavePlace } from './lock-place.js';
import { encodeName } from './names.js';
import { createReaper } from './reaper.js';
import { connectionOf, type ZookeeperSession } from './session.js';

/** Options of {@link zookeeperLock}. */
export interface ZookeeperLockOptions {
  /** From `zookeeper()`. It is not closed with the lock. */
  readonly session: ZookeeperSession;
}

/**
 * Locks on a ZooKeeper ensemble: first come, first served, fenced, and free at the latest one
 * session time-out after their holder died.
 *
 * A place in line is an ephemeral sequential znode below
 * `‹chroot›/tricord/‹namespace›/locks/‹resource›`; each waits for its predecessor alone (the lock
 * recipe of Hunt, Konar, Junqueira and Reed, ZooKeeper, USENIX ATC 2010). A fencing token is the
 * directory's newest zxid at the grant, times 1,024. A grant is valid for the smaller of its
 * `ttlMs` and the session's time-out, counted from before the request that proved the session alive;
 * one round trip renews all grants. Lost answers are reconciled by the grant id in the znode's name.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a session that `zookeeper()` did not make.
 */
export function zookeeperLock(options: ZookeeperLockOptions): LockDriver {
  const connection = connectionOf(options?.session);
  return { backend: 'zookeeper', open: (node) => openBackend(connection, node) };
}

function openBackend(connection: Connection, node: LockNode): LockBackend {
  const { clock } = node;
  const reaper = createReaper(clock, node.random);
  const grants = new Map<string, HeldGrant>();
  const endings = new WeakMap<Grant, Promise<'released' | 'lost'>>();
  const closed = new AbortController();
  const directoryOf = (resource: string): string =>
    `${connection.root}/locks/${encodeName(resource)}`;

  const hold = (request: GrantRequest, won: WonPlace): Grant => {
    const { grantId, live, directory, place, listing, waiters } = won;
    const isCounting = request.mode === 'counting';
    const held = holdGrant(connection, {
      ...{ request, grantId, live, directory, waiters },
      path: `${directory}/${place.name}`,
      fencingToken: isCounting ? undefined : firstTokenOf(listing.stat.pzxid),
      tokens: Math.min(request.tokens, TOKENS_PER_ZXID),
      validity: cappedAt(request.ttlMs, listing.validity),
      onExpiry: () => void leavePlace({ connection, reaper, live, directory }, grantId, place.name),
    });
    grants.set(grantId, held);
    held.onEnd(() => grants.delete(grantId));
    watchWaiters(held);
    return held.grant;
  };

  return {
    ...unsupportedVerbs('zookeeper'),
    async acquire(request) {
      throwIfAborted(request.signal);
      throwIfAborted(closed.signal);
      const won = await contend(
        { connection, reaper, node },
        request,
        directoryOf(request.resource),
      );
      return won === undefined ? undefined : hold(request, won);
    },
    renew: (asked, ttlMs) =>
      renewAll(
        clock,
        asked.map(({ grantId }) => grants.get(grantId)),
        ttlMs,
      ),
    async release(grant, { signal }: CallOptions = {}) {
      const before = endings.get(grant);
      if (before !== undefined) return before;
      const held = grants.get(grant.grantId);
      // Not in the table: it has expired, or its session has ended.
      if (held === undefined) return 'lost';
      const ending = releaseGrant(clock, reaper, held, signal);
      endings.set(grant, ending);
      return ending;
    },
    async reserveTokens(grant, tokens, { signal }: CallOptions = {}) {
      if (tokens > TOKENS_PER_ZXID) {
        throw invalidArgument('tokens', tokens, `at most ${TOKENS_PER_ZXID} at a time`);
      }
      const held = grants.get(grant.grantId);
      return held === undefined ? undefined : reserveBlock(held, signal);
    },
    inspect: (resource, callOptions) =>
      inspectLine({ connection, grants }, resource, directoryOf(resource), callOptions?.signal),
    guarantees: (callOptions) => ensembleGuarantees(connection, 'lock', callOptions?.signal),
    async close() {
      closed.abort(closedError('the lock'));
      leaveAll(grants);
      reaper.close();
    },
  };
}

async function renewAll(
  clock: Clock,
  held: readonly (HeldGrant | undefined)[],
  ttlMs: readonly number[],
): Promise<readonly RenewReply[]> {
  const replies = await renewGrants(clock, held);
  return replies.map((reply, index): RenewReply => {
    if (reply.state !== 'held') return reply;
    const validity = cappedAt(ttlMs[index] ?? 0, reply.validity);
    held[index]?.renew(validity);
    return { ...reply, validity };
  });
}

/** Lets go of what is held, without waiting for the answers. */
function leaveAll(grants: ReadonlyMap<string, HeldGrant>): void {
  for (const held of [...grants.values()]) {
    void held.live.ask.remove(held.path);
    held.end();
  }
}

/** No longer than was asked for: a dead loop must not keep a lock for a whole session time-out. */
function cappedAt(ttlMs: number, validity: Validity): Validity {
  return { since: validity.since, forMs: Math.min(ttlMs, validity.forMs) };
}
