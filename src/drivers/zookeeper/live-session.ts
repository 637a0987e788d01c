import { type AbortSource, abortable, lazyAbort, throwIfAborted } from '../../core/abort.js';
import { type Clock, elapsedAt, type Instant, type Validity } from '../../core/clock.js';
import { turnInstant } from '../../core/coarse-clock.js';
import { type Deferred, deferred } from '../../core/deferred.js';
import { type Client, type Wire, wireOf } from './client.js';
import { ANSWER_LOST, failureOf, isServerAnswer, NOT_SENT, type Reply, unsentOf } from './codes.js';
import { type Call, type Requests, requestsOver, type Send } from './requests.js';

/**
 * The binding tells of a lost connection after it closed the socket and before libuv knows. Whoever
 * opened a socket right then would get the same descriptor, and libuv would confuse the two; so bad
 * news travels this much later, when the client has been replaced.
 */
const LOST_AFTER_MS = 5;
/** State of a client whose socket the library closed in the middle of a call, because a send failed. */
const BROKEN_STATE = 999;

/** What the server says of a watched node. */
export type NodeEvent = 'created' | 'deleted' | 'changed' | 'child';

/**
 * One session of the ensemble, across all its connections. After `ended` nothing is sent any more,
 * and every request that waited for its answer has been told `unknown`.
 */
export class LiveSession {
  /** In hexadecimal, as `ephemeralOwner` of a Stat shows it. */
  readonly id: string;
  /** The negotiated session time-out, in milliseconds. */
  readonly timeoutMs: number;
  /** What can be asked within this session. */
  readonly ask: Requests;
  readonly #clock: Clock;
  /** Not a signal: every grant and every wait listens, and signals are dear to listen to. */
  readonly #ended = lazyAbort();
  /** As of this turn: what counts from there ends too soon, never too late. */
  readonly #now: () => Instant;
  /** The C library forgets some completions when a session ends, so that we tell who waits. */
  readonly #unanswered = new Set<() => void>();
  readonly #listeners = new Map<string, Set<(event: NodeEvent) => void>>();
  readonly #reconnectListeners = new Set<() => void>();
  readonly #onBroken: (client: Client) => void;
  #client: Client;
  #wire: Wire;
  #provenSince: Instant;
  #isConnected = true;
  #connection: Deferred<void> = deferred();
  #proof: Promise<boolean> | undefined;

  /**
   * Takes a client that has just connected. `since`: from before its session was asked for.
   * `onBroken` must close a client before anything else runs: a send failed, the library closed the
   * socket, and neither it nor libuv knows; libuv would abort the process, or wait for ever.
   */
  constructor(client: Client, clock: Clock, since: Instant, onBroken: (client: Client) => void) {
    this.id = client.client_id;
    this.timeoutMs = client.timeout;
    this.ask = requestsOver(this.#call);
    this.#client = client;
    this.#wire = wireOf(client);
    this.#clock = clock;
    this.#now = turnInstant(clock);
    this.#onBroken = onBroken;
    this.#provenSince = since;
    this.#connection.resolve();
  }

  /** Aborted when the session ended or counts as ended; the reason is the error to show. */
  get ended(): AbortSource {
    return this.#ended;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /**
   * For how long the ensemble keeps this session: its time-out, from the sending of the newest
   * request that was answered. A follower tells the leader of its clients' signs of life every
   * half tick, so a follower that is cut off may make this too long by that; the fence is the proof.
   */
  get validity(): Validity {
    return { since: this.#provenSince, forMs: this.timeoutMs };
  }

  /** Resolves when it is connected; rejects with the reason of `ended` or of the signal. */
  async connected(signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    await abortable(this.#connection.promise, signal);
  }

  /** A round trip through the leader, shared by all who ask at once: renews `validity`. */
  prove(): Promise<boolean> {
    this.#proof ??= this.ask.sync('/').then((reply) => {
      this.#proof = undefined;
      return reply.ok;
    });
    return this.#proof;
  }

  /** Calls the listener at each event of a path until the returned function is called. */
  onChange(path: string, listener: (event: NodeEvent) => void): () => void {
    const group = this.#listeners.get(path) ?? new Set();
    this.#listeners.set(path, group.add(listener));
    return () => {
      group.delete(listener);
      if (group.size === 0 && this.#listeners.get(path) === group) this.#listeners.delete(path);
    };
  }

  /** Calls the listener after each reconnection, when events may have been missed. */
  onReconnect(listener: () => void): () => void {
    this.#reconnectListeners.add(listener);
    return () => this.#reconnectListeners.delete(listener);
  }

  /** For the supervisor: the server sent an event. */
  notify(path: string, event: NodeEvent): void {
    for (const listener of [...(this.#listeners.get(path) ?? [])]) listener(event);
  }

  /** For the supervisor: the connection is back, perhaps through another client object. */
  reconnected(client: Client): void {
    this.#client = client;
    this.#wire = wireOf(client);
    if (this.#isConnected || this.ended.aborted) return;
    this.#isConnected = true;
    this.#connection.resolve();
    for (const listener of [...this.#reconnectListeners]) listener();
  }

  /** For the supervisor: the connection broke; the session may live on. */
  disconnected(): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    this.#connection = deferred();
  }

  /** For the supervisor: the session is over, or must count as over. */
  end(reason: unknown): void {
    if (this.ended.aborted) return;
    this.disconnected();
    this.#ended.abort(reason);
    this.#connection.reject(reason);
    for (const lose of [...this.#unanswered]) lose();
    this.#unanswered.clear();
  }

  readonly #call: Call = <T>(through: 'leader' | 'server', send: Send<T>): Promise<Reply<T>> => {
    if (this.ended.aborted) return Promise.resolve(NOT_SENT);
    return new Promise((resolve) => {
      const sentAt = this.#now();
      const lose = (): void => resolve(ANSWER_LOST);
      this.#unanswered.add(lose);
      const wire = this.#wire;
      const done = (code: number, value?: T): void => {
        this.#unanswered.delete(lose);
        if (through === 'leader' && isServerAnswer(code)) this.#proven(sentAt);
        const failure = code === 0 ? undefined : failureOf(code);
        if (failure === undefined) resolve({ ok: true, value: value as T });
        else if (failure.kind !== 'unknown') resolve(failure);
        else this.#clock.schedule(LOST_AFTER_MS, () => resolve(failure));
      };
      const rc = send(wire, done, this.#client);
      if (rc !== 0) {
        this.#unanswered.delete(lose);
        resolve(unsentOf(rc));
      }
      if (wire.state === BROKEN_STATE) this.#onBroken(this.#client);
    });
  };

  #proven(sentAt: Instant): void {
    const now = this.#now();
    const isNewer = elapsedAt(now, sentAt) < elapsedAt(now, this.#provenSince);
    if (isNewer) this.#provenSince = sentAt;
  }
}
