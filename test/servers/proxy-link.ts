import { connect, type Socket } from 'node:net';
import type { Endpoint } from './handle.js';
import type { Behaviour, Direction, Matcher, Trap } from './proxy.js';

const LINGER_MS = 2_000;
/** So much of what was sent is kept for matches that span chunks. */
const KEPT_BYTES = 1_024;

/** One client's connection through the proxy. */
export class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #behaviour: Behaviour;
  readonly #ways: readonly [Way, Way];
  readonly #ended: () => void;
  #sent: Buffer = Buffer.alloc(0);
  #trap: Trap | undefined;
  #hasHole = false;
  #isCut = false;

  constructor(client: Socket, target: Endpoint, behaviour: Behaviour, ended: () => void) {
    this.#client = client;
    this.#server = connect({ ...target, allowHalfOpen: true });
    this.#behaviour = behaviour;
    this.#ended = ended;
    this.#ways = [
      new Way('to-server', client, this.#server, behaviour, (chunk) => this.#onRequest(chunk)),
      new Way('to-client', this.#server, client, behaviour, (chunk) => this.#onReply(chunk)),
    ];
    for (const socket of [client, this.#server]) {
      socket.setNoDelay(true);
      socket.on('error', () => this.cut());
      socket.on('close', () => this.#ways.every((way) => way.isDone) && this.cut());
    }
  }

  /** Whether bytes for the client were swallowed. */
  get hasHole(): boolean {
    return this.#hasHole;
  }

  /** Looks again at what the proxy is told to do. */
  obey(): void {
    for (const way of this.#ways) way.obey();
  }

  /** Resets the client. The server still reads what was forwarded: it sees an orderly end. */
  cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    for (const way of this.#ways) way.stop();
    this.#client.resetAndDestroy();
    this.#server.resume();
    this.#server.end();
    setTimeout(() => this.#server.destroy(), LINGER_MS).unref();
    this.#ended();
  }

  #onRequest(chunk: Buffer): boolean {
    for (const trap of this.#behaviour.traps) {
      trap.remaining -= matchCount(trap.matcher, this.#sent, chunk);
      if (trap.remaining > 0) continue;
      this.#behaviour.traps.delete(trap);
      this.#trap = trap;
    }
    this.#sent = Buffer.concat([this.#sent, chunk]).subarray(-KEPT_BYTES);
    return true;
  }

  /** Answers whether the client gets the chunk. */
  #onReply(_chunk: Buffer): boolean {
    if (this.#trap !== undefined) {
      this.cut();
      this.#trap.sprung();
      return false;
    }
    if (this.#behaviour.isDroppingReplies) this.#hasHole = true;
    return !this.#behaviour.isDroppingReplies;
  }
}

/** One direction of a link: a queue that a freeze holds and a delay slows. */
class Way {
  readonly #direction: Direction;
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #behaviour: Behaviour;
  readonly #queue: { readonly chunk: Buffer; readonly dueAt: number }[] = [];
  readonly #admit: (chunk: Buffer) => boolean;
  #timer: NodeJS.Timeout | undefined;
  #hasEnded = false;
  #isStopped = false;

  constructor(
    direction: Direction,
    source: Socket,
    sink: Socket,
    behaviour: Behaviour,
    admit: (chunk: Buffer) => boolean,
  ) {
    this.#direction = direction;
    this.#source = source;
    this.#sink = sink;
    this.#behaviour = behaviour;
    this.#admit = admit;
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.on('end', () => this.#end());
    sink.on('drain', () => this.obey());
    this.obey();
  }

  get isDone(): boolean {
    return this.#isStopped || (this.#hasEnded && this.#queue.length === 0);
  }

  obey(): void {
    if (this.#isStopped) return;
    if (this.#isFrozen) this.#source.pause();
    else this.#source.resume();
    this.#pump();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#queue.length = 0;
  }

  get #isFrozen(): boolean {
    return this.#behaviour.frozen.has(this.#direction);
  }

  #take(chunk: Buffer): void {
    if (this.#isStopped) return;
    const dueAt = performance.now() + this.#behaviour.delayMs[this.#direction];
    this.#queue.push({ chunk, dueAt });
    this.#pump();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#pump();
  }

  #pump(): void {
    clearTimeout(this.#timer);
    while (!this.#isFrozen && !this.#isStopped) {
      const next = this.#queue[0];
      if (next === undefined) break;
      const waitMs = next.dueAt - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#pump(), Math.ceil(waitMs));
        return;
      }
      this.#queue.shift();
      if (this.#admit(next.chunk) && !this.#sink.write(next.chunk)) this.#source.pause();
    }
    if (this.#hasEnded && this.#queue.length === 0 && !this.#isStopped) this.#sink.end();
  }
}

/** How often a matcher occurs in `chunk`, a match that began in what was sent before included. */
function matchCount(matcher: Matcher, sent: Buffer, chunk: Buffer): number {
  if (typeof matcher === 'function') return matcher(chunk) ? 1 : 0;
  const pattern = Buffer.from(matcher as string);
  const overlap = Math.min(sent.length, pattern.length - 1);
  const text = Buffer.concat([sent.subarray(sent.length - overlap), chunk]);
  let count = 0;
  for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1)) count += 1;
  return count;
}
