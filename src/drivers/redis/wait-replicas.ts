import type { Clock } from '../../core/clock.js';
import type { Guarantees } from '../../core/guarantees.js';
import { assertNumber, invalidArgument } from '../../core/validate.js';
import type { Grant, RenewReply } from '../../lock/driver.js';
import { type RedisCalls, redisCalls } from './calls.js';
import type { RedisClient, RedisSubscriber } from './client.js';
import { unavailable } from './errors.js';

/** How many replicas must have a grant before it is handed out. */
export interface WaitReplicasOptions {
  /** So many replicas, 1 to 16. */
  readonly count: number;
  /** They are awaited for so long, in milliseconds: 1 to 60,000. A lost replica costs it with each grant. */
  readonly timeoutMs: number;
}

/** WAIT, as ioredis has it. */
interface WaitingClient extends RedisClient {
  wait(count: number, timeoutMs: number): Promise<number>;
  disconnect(): void;
}

/** Writes on a connection of their own, and waits for replicas to have them. */
export interface ReplicaWait {
  /** Calls of that connection, which is opened by the first use. */
  readonly calls: () => RedisCalls;
  /**
   * Renewals that count only once the replicas have them; `renew` sends them by `calls`. One that is
   * not confirmed in time is `unknown`: the old validity stands.
   */
  renew(renew: () => Promise<readonly RenewReply[]>): Promise<readonly RenewReply[]>;
  /**
   * Resolves when the replicas have these grants, which `renew` writes anew on that connection.
   * Rejects with BACKEND_UNAVAILABLE when they have not; the caller then gives the grants back.
   */
  confirm(grants: readonly Grant[], renew: () => Promise<readonly RenewReply[]>): Promise<void>;
  close(): void;
}

/**
 * WAIT counts the writes of its own connection, blocks that connection, is refused in scripts, and
 * answers at once on a connection that wrote nothing. So the writes that are to be confirmed have a
 * duplicate of the client: a renewal of the grant there, which comes after the grant in the stream of
 * replication, whoever wrote that. One WAIT serves all writes that were answered before it was sent.
 *
 * See "WAIT" in the Redis documentation: it does not make Redis strongly consistent.
 */
export function replicaWait(options: {
  readonly client: RedisClient;
  readonly clock: Clock;
  readonly replyTimeoutMs: number;
  readonly wait: WaitReplicasOptions;
}): ReplicaWait {
  const { client, clock, replyTimeoutMs, wait } = options;
  const { count, timeoutMs } = wait;
  let own: { readonly client: WaitingClient; readonly calls: RedisCalls } | undefined;
  let current: Promise<unknown> = Promise.resolve();
  let next: Promise<number> | undefined;

  const open = () => {
    if (own !== undefined) return own;
    const duplicate = client.duplicate() as RedisSubscriber & WaitingClient;
    // A client reports each failed attempt to connect; without a listener it prints them.
    duplicate.on('error', () => {});
    own = {
      client: duplicate,
      calls: redisCalls({ client: duplicate, clock, timeoutMs: replyTimeoutMs }),
    };
    return own;
  };
  const send = (): Promise<number> => {
    const { client: waiting, calls } = open();
    const bounds = { timeoutMs: timeoutMs + replyTimeoutMs };
    return calls.send('WAIT', () => waiting.wait(count, timeoutMs), bounds);
  };
  const awaitReplicas = (): Promise<number> => {
    next ??= current.then(() => {
      const sent = send();
      next = undefined;
      current = sent.catch(() => {});
      return sent;
    });
    return next;
  };
  /** What the writes answered, and how many replicas have them. */
  const written = async <Reply>(write: () => Promise<Reply>): Promise<[Reply, number]> => {
    const { calls } = open();
    const closes = calls.closeCount();
    const reply = await write();
    const acknowledged = Number(await awaitReplicas());
    // A connection that was lost in between has forgotten what it wrote, and WAIT counts nothing.
    return [reply, calls.closeCount() === closes ? acknowledged : 0];
  };
  const shortfall = (acknowledged: number, what: string): unknown => {
    const why = `${acknowledged} of ${count} replicas confirmed ${what} within ${timeoutMs} ms`;
    return unavailable('WAIT', why);
  };

  return {
    calls: () => open().calls,
    async renew(renew) {
      let replies: readonly RenewReply[] = [];
      const note = async () => {
        replies = await renew();
      };
      try {
        const [, acknowledged] = await written(note);
        if (acknowledged >= count) return replies;
        return unconfirmed(replies, shortfall(acknowledged, 'a renewal'));
      } catch (cause) {
        return unconfirmed(replies, cause);
      }
    },
    async confirm(grants, renew) {
      const [replies, acknowledged] = await written(renew);
      const names = grants.map(({ resource }) => JSON.stringify(resource)).join(', ');
      const isHeld = replies.every(({ state }) => state === 'held');
      if (!isHeld || acknowledged < count) {
        throw shortfall(isHeld ? acknowledged : 0, `the lock ${names}, which was given back,`);
      }
    },
    close() {
      own?.calls.dispose();
      own?.client.disconnect();
    },
  };
}

function unconfirmed(replies: readonly RenewReply[], cause: unknown): readonly RenewReply[] {
  return replies.map((reply) => (reply.state === 'held' ? { state: 'unknown', cause } : reply));
}

/** Checks the option; a Cluster sends WAIT to any node, which has not written what is waited for. */
export function assertWaitReplicas(client: RedisClient, wait: unknown): void {
  if (wait === undefined) return;
  const { count, timeoutMs } = (wait ?? {}) as Partial<WaitReplicasOptions>;
  assertNumber('waitReplicas.count', count, { min: 1, max: 16, integer: true });
  assertNumber('waitReplicas.timeoutMs', timeoutMs, { min: 1, max: 60_000, integer: true });
  const { wait: command } = client as Partial<WaitingClient>;
  if (!client.isCluster && typeof command === 'function') return;
  throw invalidArgument('waitReplicas', wait, 'it with a Redis of one master, not with a Cluster');
}

/** Says what waiting adds, and what it does not. */
export function withReplicas(guarantees: Guarantees, wait: WaitReplicasOptions): Guarantees {
  const { promises, warnings } = guarantees;
  const promise = `A grant is handed out, and a renewal counts, once ${wait.count} replicas have it.`;
  const warning =
    'waitReplicas narrows the window in which a fail-over forgets a lock and does not close it: another replica may be promoted, and what a replica acknowledged may not be on its disk.';
  return { ...guarantees, promises: [...promises, promise], warnings: [...warnings, warning] };
}
