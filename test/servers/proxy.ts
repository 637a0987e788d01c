import { createServer, type Server, type Socket } from 'node:net';
import type { Endpoint } from './handle.js';
import { freePort } from './ports.js';
import { Link } from './proxy-link.js';

/** One way through the proxy. */
export type Direction = 'to-server' | 'to-client';

/** What a request must contain: these bytes, or whatever the function finds in what was sent. */
export type Matcher = string | Buffer | ((sent: Buffer) => boolean);

/**
 * A TCP proxy of one server whose network can be broken on purpose.
 *
 * Verbs take effect at once, on open and on new connections, and stay until `pass()`.
 */
export interface CuttingProxy extends Endpoint, AsyncDisposable {
  readonly address: string;
  /** The server's `url` with the proxy's address in it. */
  readonly url: string;
  /** Connections that clients have opened so far, and those that are open now. */
  readonly acceptedCount: number;
  readonly openCount: number;
  /** Back to normal. Connections from which replies were dropped are cut: their stream has a hole. */
  pass(): Promise<void>;
  /** Resets all connections, once. */
  cut(): void;
  /** New connections are refused as if nothing listened; open ones stay. */
  refuse(): void;
  /** Forwards nothing (in one direction, or in both); connections stay open and new ones open. */
  freeze(direction?: Direction): void;
  /** Ends a freeze; what was sent meanwhile arrives. */
  thaw(): void;
  /** Forwards requests and swallows the replies. */
  dropReplies(): void;
  /** Holds back every chunk for so long, in order. */
  delay(delayMs: number, direction?: Direction): void;
  /**
   * A lost reply: lets the `nth` request that matches (default 1, counted over all connections)
   * reach the server, waits until the server answers, and then cuts that connection; the client has
   * seen nothing of the answer. Resolves when that has happened. Works once a call.
   */
  cutAfterForward(matcher: Matcher, nth?: number): Promise<void>;
  close(): Promise<void>;
}

/** Starts a proxy of `target` on a free port of 127.0.0.1. */
export async function createProxy(target: Endpoint & { url?: string }): Promise<CuttingProxy> {
  const proxy = new TcpProxy(target, await freePort());
  await proxy.pass();
  return proxy;
}

/** What every link of a proxy obeys. */
export interface Behaviour {
  readonly frozen: Set<Direction>;
  readonly delayMs: Record<Direction, number>;
  isDroppingReplies: boolean;
  readonly traps: Set<Trap>;
}

export interface Trap {
  readonly matcher: Matcher;
  remaining: number;
  readonly sprung: () => void;
}

class TcpProxy implements CuttingProxy {
  readonly host: string = '127.0.0.1';
  readonly port: number;
  readonly url: string;
  readonly #target: Endpoint;
  readonly #links = new Set<Link>();
  readonly #behaviour: Behaviour = {
    frozen: new Set(),
    delayMs: { 'to-server': 0, 'to-client': 0 },
    isDroppingReplies: false,
    traps: new Set(),
  };
  #listener: Server | undefined;
  #acceptedCount = 0;

  constructor(target: Endpoint & { url?: string }, port: number) {
    this.#target = { host: target.host, port: target.port };
    this.port = port;
    this.url = urlThrough(target.url ?? '', port);
  }

  get address(): string {
    return `${this.host}:${this.port}`;
  }

  get acceptedCount(): number {
    return this.#acceptedCount;
  }

  get openCount(): number {
    return this.#links.size;
  }

  async pass(): Promise<void> {
    this.#behaviour.isDroppingReplies = false;
    this.#behaviour.traps.clear();
    this.delay(0);
    for (const link of this.#links) if (link.hasHole) link.cut();
    this.thaw();
    await this.#listen();
  }

  cut(): void {
    for (const link of this.#links) link.cut();
  }

  refuse(): void {
    this.#listener?.close();
    this.#listener = undefined;
  }

  freeze(direction?: Direction): void {
    for (const each of either(direction)) this.#behaviour.frozen.add(each);
    for (const link of this.#links) link.obey();
  }

  thaw(): void {
    this.#behaviour.frozen.clear();
    for (const link of this.#links) link.obey();
  }

  dropReplies(): void {
    this.#behaviour.isDroppingReplies = true;
  }

  delay(delayMs: number, direction?: Direction): void {
    for (const each of either(direction)) this.#behaviour.delayMs[each] = delayMs;
  }

  cutAfterForward(matcher: Matcher, nth = 1): Promise<void> {
    return new Promise((resolve) => {
      this.#behaviour.traps.add({ matcher, remaining: nth, sprung: resolve });
    });
  }

  async close(): Promise<void> {
    this.refuse();
    this.cut();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #listen(): Promise<void> {
    if (this.#listener !== undefined) return Promise.resolve();
    const listener = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
    this.#listener = listener;
    listener.unref();
    return new Promise((resolve, reject) => {
      listener.once('error', reject);
      listener.listen({ host: this.host, port: this.port }, () => resolve());
    });
  }

  #accept(client: Socket): void {
    this.#acceptedCount += 1;
    const link = new Link(client, this.#target, this.#behaviour, () => this.#links.delete(link));
    this.#links.add(link);
  }
}

const either = (direction?: Direction): readonly Direction[] =>
  direction === undefined ? ['to-server', 'to-client'] : [direction];

/** The address that a client takes, with the proxy's port in it; a chroot path is kept. */
function urlThrough(url: string, port: number): string {
  if (!url.includes('://')) return `127.0.0.1:${port}${/\/.*$/.exec(url)?.[0] ?? ''}`;
  const through = new URL(url);
  through.hostname = '127.0.0.1';
  through.port = String(port);
  return through.href;
}
