import { abortable, abortScope, sleep, throwIfAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import {
  type CancelTimer,
  type Clock,
  elapsedMs,
  type Instant,
  instantOf,
  remainingMs,
} from '../../core/clock.js';
import { type Deferred, deferred } from '../../core/deferred.js';
import { CoordinationError, closedError } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import type { Client, ClientClass } from './client.js';
import { CLOSED_BY, sessionExpiredError, unavailableError } from './codes.js';
import { LiveSession, type NodeEvent } from './live-session.js';

/** How a session is kept. */
export interface SupervisorOptions {
  /** `host:port,host:port`, for the client and for messages. */
  readonly servers: string;
  readonly sessionTimeoutMs: number;
  /** How long `current` waits for a session, in milliseconds. */
  readonly connectTimeoutMs: number;
  readonly auth: readonly { readonly scheme: string; readonly secret: string }[];
  readonly clock: Clock;
  readonly random: Random;
  load(): Promise<ClientClass>;
}

const BACKOFF = { baseMs: 20, maxMs: 500 };
const EVENTS: readonly NodeEvent[] = ['created', 'deleted', 'changed', 'child'];
/** State of a client that has no socket: it waits for its next try, or got stuck. */
const IDLE_STATE = 0;
/** How often a client that is not connected is looked at, in milliseconds. */
const LOOK_MS = 5;
/** So many of the first looks come one after another: a connection is refused within a millisecond. */
const QUICK_LOOKS = 20;
/** A server has so long to take a connection at least, in milliseconds. */
const SHARE_MS_MIN = 200;
const GROWTHS_MAX = 6;
/** The first silent server has this part of its share; each further one twice as much. */
const FIRST_PART = 1 / 4;
/** Empty reads in a row that the binding bears before it calls a healthy session expired. */
const RESPONSE_COUNTER_LIMIT = 1_000_000;

/** All of this process that have a client, or will have one. */
const supervisors = new Set<Supervisor>();

/** The heartbeat, the look at a client that connects, the session's local end, the next client. */
type Timer = 'heartbeat' | 'watchdog' | 'deadline' | 'retry';

/**
 * Keeps one session alive, and begins a new one when it has ended.
 *
 * A client of the C library is one session: after its expiry the object is dead for ever. So every
 * end builds a new client, with backoff. A client that lost its connection is replaced as well, by one
 * that resumes the same session: the binding does not notice that the library closed a socket, looks
 * again only after a third of the session time-out, or never, and can abort the process.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #clock: Clock;
  readonly #waiting = new Set<Deferred<LiveSession>>();
  readonly #cancels = new Map<Timer, CancelTimer>();
  #state: 'new' | 'started' | 'closed' = 'new';
  #client: Client | undefined;
  #live: LiveSession | undefined;
  #attempts = 0;
  /** How many servers in a row did not answer a connection that they took. */
  #silentCount = 0;
  /** The servers, with the one that the next client asks first in front. */
  readonly #order: string[];
  #openedAt: Instant;
  #lastFailure: unknown;
  #closing: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#order = inAnyOrder(options.servers.split(','), options.random);
    this.#openedAt = instantOf(options.clock);
  }

  /** The session, while it is connected and not closed. */
  get connected(): LiveSession | undefined {
    return this.#state !== 'closed' && this.#live?.isConnected ? this.#live : undefined;
  }

  /**
   * The connected session. Rejects with BACKEND_UNAVAILABLE after `connectTimeoutMs`, with CLOSED,
   * with ZOOKEEPER_MISSING or ZOOKEEPER_NOT_BUILT, or with the signal's reason.
   */
  async current(
    operation: string,
    options?: { readonly signal?: AbortSignal | undefined; readonly waitMs?: number | undefined },
  ): Promise<LiveSession> {
    throwIfAborted(options?.signal);
    if (this.#state === 'closed') throw closedError('the ZooKeeper session');
    if (this.#live?.isConnected) return this.#live;
    this.#start();
    const waiting = deferred<LiveSession>();
    this.#waiting.add(waiting);
    const { connectTimeoutMs, servers } = this.#options;
    const timeoutMs = options?.waitMs ?? connectTimeoutMs;
    using scope = abortScope({
      clock: this.#clock,
      parents: [options?.signal],
      timeoutMs,
      timeoutReason: () => unavailableError(operation, servers, timeoutMs, this.#lastFailure),
    });
    try {
      return await abortable(waiting.promise, scope.signal);
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /** Ends the session at the server too, so that its ephemeral nodes go at once. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#state = 'closed';
    const error = closedError('the ZooKeeper session');
    for (const waiting of this.#waiting) waiting.reject(error);
    for (const cancel of this.#cancels.values()) cancel();
    this.#live?.end(error);
    // Inside a callback of the client the library would skip the farewell to the server.
    await sleep(this.#clock, 0);
    this.#drop();
    supervisors.delete(this);
  }

  #start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'started';
    supervisors.add(this);
    this.#open();
  }

  #open(): void {
    const begin = async (): Promise<void> => {
      const ClientOf = await this.#options.load();
      if (this.#state !== 'closed') this.#connect(new ClientOf());
    };
    begin().catch((error: unknown) => {
      // A package that cannot be loaded stays so for this process; `current` tells at once.
      this.#fail(error);
      this.#state = this.#state === 'closed' ? 'closed' : 'new';
    });
  }

  #connect(client: Client): void {
    const { sessionTimeoutMs, auth } = this.#options;
    // Without an identity to resume, what ended is gone; with one, `#connected` buries it.
    if (this.#resumed.client_id === undefined && this.#live?.ended.aborted) this.#live = undefined;
    for (const other of supervisors) other.#yieldDescriptor();
    this.#client = client;
    this.#openedAt = instantOf(this.#clock);
    this.#listen(client);
    client.init({
      connect: this.#nextOrder(),
      timeout: sessionTimeoutMs,
      debug_level: 0,
      host_order_deterministic: true,
      response_counter_limit: RESPONSE_COUNTER_LIMIT,
      ...this.#resumed,
    });
    for (const { scheme, secret } of auth) client.add_auth(scheme, secret, () => {});
    this.#watch(client, instantOf(this.#clock));
  }

  /** The identity of a session that was cut off without being over. */
  #resumed: { readonly client_id?: string; readonly client_password?: string } = {};

  /**
   * Replaces a client that does not connect: at once when idle, else when its server has had its part
   * of the time, for one that lost its leader takes connections and does not answer. With every one
   * that was silent the next has more, in case all of them are slow.
   */
  #watch(client: Client, since: Instant): void {
    const { servers, sessionTimeoutMs, connectTimeoutMs } = this.#options;
    const shareMs = Math.min(sessionTimeoutMs, connectTimeoutMs) / (1 + servers.split(',').length);
    const growth = Math.min(this.#silentCount, GROWTHS_MAX);
    const patienceMs = Math.max(shareMs * FIRST_PART, SHARE_MS_MIN) * 2 ** growth;
    let quickLooks = QUICK_LOOKS;
    const look = (): void => {
      const isSilent = elapsedMs(this.#clock, since) > patienceMs;
      if (isSilent) this.#silentCount += 1;
      quickLooks -= 1;
      if (isSilent || client.state === IDLE_STATE) this.#replace(client);
      else this.#arm('watchdog', quickLooks > 0 ? 0 : LOOK_MS, look);
    };
    // The first look is at once: an idle client still holds the number of its closed descriptor.
    this.#arm('watchdog', 0, look);
  }

  /** Each client begins with another server than the one before, which may still be silent. */
  #nextOrder(): string {
    const order = this.#order.join();
    this.#order.push(...this.#order.splice(0, 1));

    return order;
  }

  /**
   * Closes its client if that has no socket. Whoever opens a socket may be given the number of the old
   * one; closing the client only then would make the event loop deaf to the new socket.
   */
  #yieldDescriptor(): void {
    const client = this.#client;
    if (client !== undefined && client.state === IDLE_STATE) this.#replace(client);
  }

  #listen(client: Client): void {
    const ifCurrent = (react: (detail: unknown) => void) => (_: unknown, detail: unknown) => {
      if (this.#client === client && this.#state !== 'closed') react(detail);
    };
    client.on(
      'connect',
      ifCurrent(() => this.#connected(client)),
    );
    client.on(
      'connecting',
      ifCurrent(() => this.#disconnected(client)),
    );
    client.on(
      'close',
      ifCurrent((code) => this.#ended(code)),
    );
    for (const event of EVENTS) {
      client.on(
        event,
        ifCurrent((path) => this.#live?.notify(String(path), event)),
      );
    }
  }

  #connected(client: Client): void {
    this.#cancel('watchdog');
    this.#cancel('deadline');
    if (this.#live?.ended.aborted) {
      // The server still knows the session that we gave up: closing it frees what it owned.
      this.#resumed = {};
      this.#arm('watchdog', 0, () => this.#replace(client));
      return;
    }
    this.#resumed = { client_id: client.client_id, client_password: client.client_password };
    this.#attempts = 0;
    this.#silentCount = 0;
    this.#lastFailure = undefined;
    const live =
      this.#live ??
      new LiveSession(client, this.#clock, this.#openedAt, (broken) => this.#disconnected(broken));
    this.#live = live;
    live.reconnected(client);
    this.#beat(live);
    void live.prove().then((isProven) => {
      if (!isProven || !live.isConnected) return;
      for (const waiting of this.#waiting) waiting.resolve(live);
    });
  }

  /** Keeps the validity fresh: a lease can then be granted without asking again. */
  #beat(live: LiveSession): void {
    this.#arm('heartbeat', live.timeoutMs / 3, () => {
      if (live.isConnected) void live.prove();
      if (!live.ended.aborted) this.#beat(live);
    });
  }

  /**
   * Closes the client at once, also in the middle of its callback: the library has closed its socket,
   * and whoever opened another before libuv knew would get the same descriptor, and be mistaken for it.
   */
  #disconnected(client: Client): void {
    if (this.#client !== client || this.#state === 'closed') return;
    const live = this.#live;
    if (live !== undefined && !live.ended.aborted) {
      live.disconnected();
      this.#arm('deadline', remainingMs(this.#clock, live.validity), () => {
        live.end(sessionExpiredError(live.id, `got no answer for ${live.timeoutMs} ms`));
      });
    }
    this.#drop();
    this.#retry();
  }

  #ended(code: unknown): void {
    const isRefused = code === CLOSED_BY.authentication;
    const id = this.#live?.id ?? '0';
    this.#live?.end(sessionExpiredError(id, isRefused ? 'was refused' : 'expired'));
    this.#client = undefined;
    this.#resumed = {};
    if (isRefused) {
      const setting = 'auth';
      const needed = 'a scheme and a secret that the server accepts';
      const message = `ZooKeeper refused the session's authentication; pass ${needed} as auth`;
      const details = { backend: 'zookeeper', setting, found: 'refused', needed };
      this.#fail(new CoordinationError('BACKEND_UNSUPPORTED', message, details));
    }
    this.#retry();
  }

  /** Puts another client in the place of one that is of no use any more; from a timer only. */
  #replace(client: Client): void {
    if (this.#client !== client || this.#state === 'closed') return;
    this.#lastFailure = new Error('no server took the connection');
    this.#drop();
    this.#retry();
  }

  /** Closes the client; from a timer only, unless it has lost its connection. */
  #drop(): void {
    const client = this.#client;
    this.#cancel('watchdog');
    // First, so that its last event is not taken for the end of the session.
    this.#client = undefined;
    client?.close();
  }

  #retry(): void {
    const delayMs = backoffMs(this.#attempts, BACKOFF, this.#options.random);
    this.#attempts += 1;
    this.#arm('retry', delayMs, () => this.#open());
  }

  #fail(error: unknown): void {
    this.#lastFailure = error;
    for (const waiting of this.#waiting) waiting.reject(error);
  }

  #arm(name: Timer, delayMs: number, callback: () => void): void {
    this.#cancel(name);
    if (this.#state === 'closed') return;
    this.#cancels.set(name, this.#clock.schedule(delayMs, callback));
  }

  #cancel(name: Timer): void {
    this.#cancels.get(name)?.();
    this.#cancels.delete(name);
  }
}

/** So that the clients of an ensemble spread over its servers. */
function inAnyOrder(servers: readonly string[], random: Random): string[] {
  const places = servers.map((server) => ({ server, at: random.fraction() }));
  return places.sort((one, other) => one.at - other.at).map(({ server }) => server);
}
