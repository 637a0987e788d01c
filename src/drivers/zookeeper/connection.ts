import { type Clock, elapsedMs, type Instant, instantOf } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import { type ClientAcl, CREATE, type ZookeeperStat } from './client.js';
import { expectOk, type Failure, type Reply } from './codes.js';
import type { LiveSession } from './live-session.js';
import { parentOf } from './names.js';
import { ANY_VERSION } from './requests.js';
import type { Supervisor } from './supervisor.js';

/** What the roles of this driver share: the session, where they store, and what they may. */
export interface Connection {
  readonly clock: Clock;
  readonly random: Random;
  /** Begins every path: `‹chroot›/tricord/‹namespace›`. */
  readonly root: string;
  /** For messages; holds no secret. */
  readonly servers: string;
  readonly sessionTimeoutMs: number;
  readonly current: Supervisor['current'];
  /** The session, where nobody has to wait for it. */
  connected(): LiveSession | undefined;
  /** Creates what is missing of a path, its last part with the flags, each with our ACL. */
  ensure(live: LiveSession, path: string, flags?: number): Promise<void>;
  /** Creates a persistent node with our ACL. */
  createPersistent(live: LiveSession, path: string, data: Buffer): Promise<Reply<string>>;
  /** The leader's clock, in milliseconds since 1970, give or take a round trip. */
  serverTimeMs(live: LiveSession): Promise<number>;
  /** Learns the leader's clock from the Stat of a write that was just answered. */
  noteServerTime(stat: ZookeeperStat): void;
}

const NO_DATA: Buffer = Buffer.alloc(0);
/** A sample of the leader's clock is extrapolated for so long. */
const SAMPLE_MS_MAX = 60_000;

/** Builds the shared part on a supervised session. */
export function connectionOver(
  supervisor: Supervisor,
  options: Pick<Connection, 'clock' | 'random' | 'root' | 'servers' | 'sessionTimeoutMs'> & {
    /** The ACL of persistent nodes; undefined leaves them open to everybody. */
    readonly acl: readonly ClientAcl[] | undefined;
  },
): Connection {
  const { clock, root, acl } = options;
  let sample: { readonly serverMs: number; readonly at: Instant } | undefined;

  const createNode = async (
    live: LiveSession,
    path: string,
    data: Buffer,
    flags: number,
  ): Promise<Reply<string>> => {
    const created = live.ask.create(path, data, flags);
    // The client always creates open nodes; the ACL follows in the same burst.
    const closed = acl === undefined ? undefined : live.ask.setAcl(path, acl);
    const [reply, closing] = await Promise.all([created, closed]);
    return reply.ok && closing !== undefined && !closing.ok ? (closing as Failure) : reply;
  };

  const ensure = async (
    live: LiveSession,
    path: string,
    flags: number = CREATE.persistent,
  ): Promise<void> => {
    const reply = await createNode(live, path, NO_DATA, flags);
    if (reply.ok || reply.kind === 'exists') return;
    const parent = parentOf(path);
    if (reply.kind !== 'no-node' || parent === '') expectOk(reply, `create ${path}`);
    await ensure(live, parent);
    const again = await createNode(live, path, NO_DATA, flags);
    if (!again.ok && again.kind !== 'exists') expectOk(again, `create ${path}`);
  };

  const noteServerTime = (stat: ZookeeperStat): void => {
    sample = { serverMs: stat.mtime.getTime(), at: instantOf(clock) };
  };

  return {
    ...options,
    current: (operation, waiting) => supervisor.current(operation, waiting),
    connected: () => supervisor.connected,
    ensure,
    createPersistent: (live, path, data) => createNode(live, path, data, CREATE.persistent),
    noteServerTime,
    async serverTimeMs(live) {
      if (sample === undefined || elapsedMs(clock, sample.at) > SAMPLE_MS_MAX) {
        const path = `${root}/clock`;
        let reply = await live.ask.set(path, NO_DATA, ANY_VERSION);
        if (!reply.ok && reply.kind === 'no-node') {
          await ensure(live, path);
          reply = await live.ask.set(path, NO_DATA, ANY_VERSION);
        }
        // An older sample is better than none: it only drifts.
        const isUseful = sample !== undefined && !reply.ok;
        if (!isUseful) noteServerTime(expectOk(reply, 'read the server’s clock'));
      }
      return sample === undefined ? 0 : sample.serverMs + elapsedMs(clock, sample.at);
    },
  };
}
