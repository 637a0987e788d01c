import { type Clock, systemClock } from '../../core/clock.js';
import { type Random, systemRandom } from '../../core/random.js';
import { assertName, assertNumber, assertOptions, invalidArgument } from '../../core/validate.js';
import { type Connection, connectionOver } from './connection.js';
import { loadClient } from './load.js';
import { Supervisor } from './supervisor.js';

/** An identity that the session proves to the server, for example `{ scheme: 'digest', secret: 'user:password' }`. */
export interface ZookeeperAuth {
  /** A scheme that the server knows: `digest`, or one of a plugin. */
  readonly scheme: string;
  /** What proves it. Never appears in messages. */
  readonly secret: string;
}

/** Options of {@link zookeeper}. */
export interface ZookeeperOptions {
  /** The ensemble: `host:port,host:port`, with a chroot after the last if you like, as everywhere. */
  readonly servers: string;
  /**
   * Proposed session time-out in milliseconds, from 100; the server forces it into 2 to 20 of its
   * ticks. What a dead process held is free after it. Default 10,000.
   */
  readonly sessionTimeoutMs?: number | undefined;
  /** How long a call waits for a session before BACKEND_UNAVAILABLE, in milliseconds. Default 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** A path below which everything is stored; created when it is missing. Default none. */
  readonly chroot?: string | undefined;
  /** Keeps deployments on one ensemble apart: 1 to 64 of `[A-Za-z0-9_-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /** Identities to prove. With any, persistent nodes are closed to everybody else. */
  readonly auth?: ZookeeperAuth | readonly ZookeeperAuth[] | undefined;
  /** Source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
  /** Source of chance. Default the machine's. */
  readonly random?: Random | undefined;
}

/** Where drivers find the connection inside a session. */
export const CONNECTION: unique symbol = Symbol.for('tricord.zookeeper.connection');

/** A ZooKeeper session, shared by locks, transactions and caches of this process. */
export interface ZookeeperSession extends AsyncDisposable {
  /**
   * Resolves when a session is established: call it at start-up to fail early. Rejects with
   * ZOOKEEPER_MISSING, ZOOKEEPER_NOT_BUILT, BACKEND_UNAVAILABLE after `connectTimeoutMs`, CLOSED, or
   * the signal's reason. Everything else connects by itself on first use.
   */
  ready(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Ends the session: what it holds is free at once, and the process can exit. Never rejects. */
  close(): Promise<void>;
  /** @internal */
  readonly [CONNECTION]: Connection;
}

const SESSION_TIMEOUT_MS = { min: 100, max: 3_600_000 };
const SERVER = /^(\[[0-9A-Fa-f:.]+\]|[^\s,:/[\]]+):\d{1,5}$/;
const NAMESPACE = /^[\w-]{1,64}$/;
const CREATOR_ONLY = [{ perms: 31, scheme: 'auth', auth: '' }];

/**
 * A session with a ZooKeeper ensemble, through the optional package `zookeeper`.
 *
 * Nothing is sent before its first use. It survives lost connections; after an expiry it begins a
 * new session by itself: leases of the old one are lost, requests in flight are reconciled, and
 * those who waited in line contend again. Close it when the locks and coordinators on it are closed.
 *
 * The client resolves host names and says its farewell in blocking calls: `close` may hold the event
 * loop for up to 1.5 s if the server does not answer. It has no TLS here; `auth` covers digest and
 * plugin schemes, and a node is created open and closed to others in the next request.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a malformed option.
 */
export function zookeeper(options: ZookeeperOptions): ZookeeperSession {
  assertOptions(options, '{ servers }');
  const { clock = systemClock, random = systemRandom, namespace = 'default' } = options;
  const { sessionTimeoutMs = 10_000, connectTimeoutMs = 10_000 } = options;
  assertNumber('sessionTimeoutMs', sessionTimeoutMs, { ...SESSION_TIMEOUT_MS, integer: true });
  assertNumber('connectTimeoutMs', connectTimeoutMs, { min: 1 });
  if (!NAMESPACE.test(namespace)) {
    throw invalidArgument('namespace', namespace, '1 to 64 characters of [A-Za-z0-9_-]');
  }
  const { servers, chroot } = ensembleOf(options);
  const auth = identitiesOf(options.auth);
  const keeping = { servers, sessionTimeoutMs, connectTimeoutMs, auth, clock, random };
  const supervisor = new Supervisor({ ...keeping, load: loadClient });
  const close = (): Promise<void> => supervisor.close();
  return {
    async ready({ signal } = {}) {
      await supervisor.current('connect', { signal });
    },
    close,
    [Symbol.asyncDispose]: close,
    [CONNECTION]: connectionOver(supervisor, {
      clock,
      random,
      servers,
      sessionTimeoutMs,
      root: `${chroot}/tricord/${namespace}`,
      acl: auth.length === 0 ? undefined : CREATOR_ONLY,
    }),
  };
}

/** The connection of a session that a user passed in; a TypeError for anything else. */
export function connectionOf(session: unknown): Connection {
  const connection = (session as Partial<ZookeeperSession> | undefined)?.[CONNECTION];
  if (connection !== undefined) return connection;
  throw invalidArgument('session', session, 'what zookeeper({ servers }) returned');
}

function ensembleOf(options: ZookeeperOptions): {
  readonly servers: string;
  readonly chroot: string;
} {
  assertName('servers', options.servers, 4_096);
  const slash = options.servers.indexOf('/');
  const servers = slash === -1 ? options.servers : options.servers.slice(0, slash);
  const given = slash === -1 ? '' : options.servers.slice(slash);
  if (!servers.split(',').every((server) => SERVER.test(server))) {
    throw invalidArgument(
      'servers',
      options.servers,
      '"host:port,host:port" or "host:port/chroot"',
    );
  }
  const chroot = [given, options.chroot ?? ''].map((path) => path.replace(/\/+$/, '')).join('');
  if (chroot !== '' && !/^(\/(?!\.{1,2}(\/|$))[\w.@:-]+)+$/.test(chroot)) {
    throw invalidArgument('chroot', chroot, 'a path such as "/services/orders"');
  }
  return { servers, chroot };
}

function identitiesOf(auth: ZookeeperOptions['auth']): readonly ZookeeperAuth[] {
  const identities = auth === undefined ? [] : [auth].flat();
  for (const { scheme, secret } of identities as readonly ZookeeperAuth[]) {
    assertName('auth.scheme', scheme, 64);
    // The value stays out of the message.
    if (typeof secret !== 'string' || secret === '') {
      throw invalidArgument('auth.secret', typeof secret, 'a non-empty string');
    }
  }
  return identities as readonly ZookeeperAuth[];
}
