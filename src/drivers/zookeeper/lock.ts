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
import type { Connection } from './connection.js';
import { ensembleGuarantees } from './guarantees.js';
import { contend, type WonPlace } from './lock-acquire.js';
import { downgradeGrant } from './lock-downgrade.js';
import { TOKENS_PER_ZXID } from './lock-fence.js';
import { forceLine } from './lock-force.js';
import { type HeldGrant, holdGrant } from './lock-grants.js';
import { inspectLine } from './lock-inspect.js';
import { releaseGrant, renewGrants, reserveBlock } from './lock-keeping.js';
import { listLines, watchLine } from './lock-list.js';
import { guardPath, leavePlace } from './lock-place.js';
import { type Outlook, outlookOf, publish } from './lock-watch.js';
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
  const known = new WeakMap<Grant, KnownGrant>();
  const closed = new AbortController();
  const looking = { connection, grants };
  const directoryOf = (resource: string): string =>
    `${connection.root}/locks/${encodeName(resource)}`;
  const heldOf = (grant: Grant): HeldGrant | undefined => grants.get(grant.grantId);
  const hold = (request: GrantRequest, won: WonPlace): Grant => {
    const held = holdPlace(clock, request, won);
    const outlook = outlookOf(connection, held);
    known.set(held.grant, { outlook, ending: undefined });
    grants.set(held.grant.grantId, held);
    held.onEnd(() => grants.delete(held.grant.grantId));
    // Whoever has others waiting here must hear when somebody elsewhere wants his turn.
    if (request.tokens > 1) outlook.open();
    // The next in line watches this place to learn whether it fits as well.
    if (request.mode === 'counting' && won.waiters > 0) publish(held);
    return held.grant;
  };

  return {
    async acquire(request) {
      throwIfAborted(closed.signal);
      const directory = directoryOf(request.resource);
      const won = await contend({ connection, reaper, node }, request, directory);
      return won === undefined ? undefined : hold(request, won);
    },
    renew: (asked, ttlMs) => renewAll(clock, asked.map(heldOf), ttlMs),
    async release(grant, { signal }: CallOptions = {}) {
      const state = known.get(grant);
      if (state?.ending !== undefined) return state.ending;
      const held = heldOf(grant);
      // Not in the table: it has expired, or its session has ended.
      if (held === undefined) return 'lost';
      const ending = releaseGrant(clock, reaper, held, signal);
      if (state !== undefined) state.ending = ending;
      return ending;
    },
    async downgrade(grant, { signal }: CallOptions = {}) {
      const held = heldOf(grant);
      if (held === undefined) return undefined;
      const shared = await downgradeGrant(clock, held, signal);
      const state = known.get(grant);
      if (shared !== undefined && state !== undefined) known.set(shared, state);
      return shared;
    },
    async reserveTokens(grant, tokens, { signal }: CallOptions = {}) {
      if (tokens > TOKENS_PER_ZXID) {
        throw invalidArgument('tokens', tokens, `at most ${TOKENS_PER_ZXID} at a time`);
      }
      const held = heldOf(grant);
      if (held?.grant.mode !== 'exclusive') return undefined;
      known.get(grant)?.outlook.open();
      return reserveBlock(held, tokens, signal);
    },
    watchWaiters: (grant) => known.get(grant)?.outlook.report(),
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

/** What is remembered of a grant that was answered. */
interface KnownGrant {
  readonly outlook: Outlook;
  ending: Promise<'released' | 'lost'> | undefined;
}

function holdPlace(clock: Clock, request: GrantRequest, won: WonPlace): HeldGrant {
  const { context, place, fencingToken, validity, waiters, downgraded } = won;
  const { grantId, live, directory } = context;
  const { lockDelayMs, ttlMs, mode, tokens } = request;
  return holdGrant({
    ...{ clock, request, grantId, live, directory, fencingToken, waiters, downgraded },
    path: `${directory}/${place.name}`,
    guardPath: lockDelayMs ? guardPath(context, lockDelayMs) : undefined,
    tokens: mode === 'exclusive' ? Math.min(tokens, TOKENS_PER_ZXID) : 1,
    validity: cappedAt(ttlMs, validity),
    // Its guard stays: the grant was not released.
    onExpiry: () => void leavePlace(context, place.name, 'stays'),
  });
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
function leaveAll(grants: ReadonlyMap<string, HeldGrant>): void {
  for (const held of [...grants.values()]) {
    if (held.guardPath !== undefined) void held.live.ask.remove(held.guardPath);
    void held.live.ask.remove(held.path);
    held.end();
  }
}

/** No longer than was asked for: a dead loop must not keep a lock for a whole session time-out. */
function cappedAt(ttlMs: number, validity: Validity): Validity {
  return { since: validity.since, forMs: Math.min(ttlMs, validity.forMs) };
}
