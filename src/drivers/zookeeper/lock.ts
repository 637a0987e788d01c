import { lazyAbort } from '../../core/abort.js';
import { alarms } from '../../core/alarms.js';
import { type Clock, instantOf, type Validity } from '../../core/clock.js';
import { closedError } from '../../core/errors.js';
import { FewMap } from '../../core/few-map.js';
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
import type { Connection } from './connection.js';
import { ensembleGuarantees } from './guarantees.js';
import type { Contention, WonPlace } from './lock-acquire.js';
import { contend } from './lock-contend.js';
import { downgradeGrant } from './lock-downgrade.js';
import { TOKENS_PER_ZXID } from './lock-fence.js';
import { forceLine } from './lock-force.js';
import { HeldGrant, heldOf } from './lock-grants.js';
import { inspectLine } from './lock-inspect.js';
import { releaseGrant, renewGrants, reserveBlock } from './lock-keeping.js';
import { listLines, watchLine } from './lock-list.js';
import { guardPath, leavePlace } from './lock-place.js';
import type { Bounds } from './lock-soon.js';
import { outlookOf, publish } from './lock-watch.js';
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
  const bounds = { clock, alarms: alarms(clock, { keepAlive: false }) };
  const contention: Contention = { connection, reaper, node, alarms: bounds.alarms };
  const grants = new FewMap<string, HeldGrant>();
  const closed = lazyAbort();
  const looking = { connection, grants };
  const directoryOf = (resource: string): string =>
    `${connection.root}/locks/${encodeName(resource)}`;
  const standing = (grant: Grant): HeldGrant | undefined => grants.get(grant.grantId);
  const hold = (request: GrantRequest, won: WonPlace): Grant => {
    const held = holdPlace(bounds, request, won);
    grants.set(held.grant.grantId, held);
    held.onEnd(() => grants.delete(held.grant.grantId));
    // Whoever has others waiting here must hear when somebody elsewhere wants his turn.
    if (request.tokens > 1) outlookOf(held).open();
    // The next in line watches this place to learn whether it fits as well.
    if (request.mode === 'counting' && won.waiters > 0) publish(held);
    return held.grant;
  };

  return {
    acquire(request) {
      if (closed.aborted) return Promise.reject(closed.reason);
      const winning = contend(contention, request, directoryOf(request.resource));
      return winning.then((won) => (won === undefined ? undefined : hold(request, won)));
    },
    renew: (asked, ttlMs) => renewAll(clock, asked.map(standing), ttlMs),
    release(grant, { signal }: CallOptions = {}) {
      const held = heldOf(grant) ?? standing(grant);
      if (held?.ending !== undefined) return held.ending;
      // It has expired, or its session has ended.
      if (held === undefined || held.isOver) return Promise.resolve('lost');
      held.ending = releaseGrant(bounds, reaper, held, signal);
      return held.ending;
    },
    async downgrade(grant, { signal }: CallOptions = {}) {
      const held = standing(grant);
      return held === undefined ? undefined : downgradeGrant(clock, held, signal);
    },
    async reserveTokens(grant, tokens, { signal }: CallOptions = {}) {
      if (tokens > TOKENS_PER_ZXID) {
        throw invalidArgument('tokens', tokens, `at most ${TOKENS_PER_ZXID} at a time`);
      }
      const held = standing(grant);
      if (held?.grant.mode !== 'exclusive') return undefined;
      outlookOf(held).open();
      return reserveBlock(held, tokens, signal);
    },
    watchWaiters(grant) {
      const held = standing(grant);
      if (held !== undefined) outlookOf(held).report();
    },
    inspect: (resource, { signal }: CallOptions = {}) =>
      inspectLine(looking, resource, directoryOf(resource), { signal }),
    list: (prefix, options) => listLines(looking, prefix, options),
    forceRelease: (resource, reason, { signal }: CallOptions = {}) =>
      forceLine(looking, resource, directoryOf(resource), reason, signal),
    watch: (resource, changed, signal) =>
      watchLine(connection, directoryOf(resource), changed, signal),
    guarantees: (callOptions) => ensembleGuarantees(connection, 'lock', callOptions?.signal),
    async close() {
      closed.abort(closedError('the lock'));
      leaveAll(grants);
      reaper.close();
    },
  };
}

function holdPlace({ clock, alarms }: Bounds, request: GrantRequest, won: WonPlace): HeldGrant {
  const { context, name, validity } = won;
  const { live, directory } = context;
  const { lockDelayMs, ttlMs, mode, tokens } = request;
  const held: HeldGrant = new HeldGrant({
    clock,
    alarms,
    request,
    grantId: context.grantId,
    live,
    directory,
    path: `${directory}/${name}`,
    guardPath: lockDelayMs ? guardPath(context, lockDelayMs) : undefined,
    fencingToken: won.fencingToken,
    tokens: mode === 'exclusive' ? Math.min(tokens, TOKENS_PER_ZXID) : 1,
    validity: cappedAt(ttlMs, validity),
    waiters: won.waiters,
    downgraded: won.downgraded,
    grantedAt: instantOf(clock),
    onLasting: () => outlookOf(held).open(),
    // Its guard stays: the grant was not released.
    onExpiry: () => void leavePlace(context, name, 'stays'),
  });
  return held;
}

async function renewAll(
  clock: Clock,
  held: readonly (HeldGrant | undefined)[],
  ttlMs: readonly number[],
): Promise<readonly RenewReply[]> {
  const replies = await renewGrants(clock, held);
  return replies.map((reply, index): RenewReply => {
    if (reply.state !== 'held') return reply;
    const asked = ttlMs[index] ?? 0;
    const validity = cappedAt(asked, reply.validity);
    held[index]?.renew(validity, asked);
    return { ...reply, validity };
  });
}

/** Lets go of what is held, without waiting for the answers. */
function leaveAll(grants: FewMap<string, HeldGrant>): void {
  for (const held of Array.from(grants.values())) {
    if (held.guardPath !== undefined) void held.live.ask.remove(held.guardPath);
    void held.live.ask.remove(held.path);
    held.end();
  }
}

/** No longer than was asked for: a dead loop must not keep a lock for a whole session time-out. */
function cappedAt(ttlMs: number, validity: Validity): Validity {
  return { since: validity.since, forMs: Math.min(ttlMs, validity.forMs) };
}
