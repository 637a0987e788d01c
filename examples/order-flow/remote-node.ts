import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Guarantees } from 'tricord';
import { type CacheCounts, NodeDied, NodeFault, type ShopNode } from './node.js';
import type { Buyer } from './offer.js';
import type { Service } from './serve-buyer.js';
import type { TillSetup } from './server-till.js';

/** What the shop tells a node's process. */
export type ToNode =
  | { readonly kind: 'open'; readonly setup: TillSetup }
  | { readonly kind: 'serve'; readonly buyer: Buyer }
  | { readonly kind: 'close' };

/** What a node's process answers. */
export type FromNode =
  | { readonly kind: 'open'; readonly guarantees: readonly Guarantees[] }
  | { readonly kind: 'served'; readonly service: Service; readonly caches: CacheCounts }
  | { readonly kind: 'fault'; readonly text: string };

/** A node in a process of its own. */
export interface RemoteNode extends ShopNode {
  readonly pid: number;
  /** Resolves when its tills are open. */
  readonly opened: Promise<void>;
  /** What the node read from the servers that it works on. */
  readonly guarantees: readonly Guarantees[];
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL('./start-node.mjs', import.meta.url));
const CLOSE_TIMEOUT_MS = 10_000;

/** Starts a node's process; `opened` tells when it can serve. */
export function startNode(setup: TillSetup, tills: number, signal: AbortSignal): RemoteNode {
  signal.throwIfAborted();
  const child = fork(PROGRAM, { serialization: 'advanced' });
  const node = new NodeProcess(child, setup.node, tills);
  signal.addEventListener('abort', () => child.kill('SIGKILL'), { once: true });
  node.send({ kind: 'open', setup });
  return node;
}

class NodeProcess implements RemoteNode {
  readonly name: string;
  readonly tills: number;
  readonly pid: number;
  readonly opened: Promise<void>;
  guarantees: readonly Guarantees[] = [];
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, (service: Service | Error) => void>();
  readonly #exited: Promise<unknown>;
  #cacheCounts: CacheCounts = {};
  #end: Error | undefined;

  constructor(child: ChildProcess, name: string, tills: number) {
    this.#child = child;
    this.name = name;
    this.tills = tills;
    this.pid = child.pid ?? 0;
    this.#exited = once(child, 'exit');
    this.opened = new Promise((resolve, reject) => {
      child.on('message', (message) => {
        this.#onMessage(message as FromNode);
        if (this.#end === undefined) resolve();
        else reject(this.#end);
      });
      child.once('error', (error) => this.#fail(error));
      child.once('exit', (code, signal) => {
        this.#fail(new NodeDied(`${name} (process ${this.pid}) ended with ${signal ?? code}`));
        reject(this.#end);
      });
    });
  }

  send(message: ToNode): void {
    // An error says that the process is gone, which its exit tells as well.
    this.#child.send(message, () => {});
  }

  serve(buyer: Buyer): Promise<Service> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      this.#waiting.set(buyer.orderId, (answer) => {
        this.#waiting.delete(buyer.orderId);
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      });
      this.send({ kind: 'serve', buyer });
    });
  }

  cacheCounts(): CacheCounts {
    return this.#cacheCounts;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.send({ kind: 'close' });
    const late = setTimeout(() => this.#child.kill('SIGKILL'), CLOSE_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(late);
  }

  #onMessage(message: FromNode): void {
    switch (message.kind) {
      case 'open':
        this.guarantees = message.guarantees;
        return;
      case 'served':
        this.#cacheCounts = message.caches;
        this.#waiting.get(message.service.orderId)?.(message.service);
        return;
      case 'fault':
        this.#fail(new NodeFault(`${this.name}: ${message.text}`));
    }
  }

  #fail(error: Error): void {
    this.#end ??= error;
    for (const answer of [...this.#waiting.values()]) answer(this.#end);
  }
}
