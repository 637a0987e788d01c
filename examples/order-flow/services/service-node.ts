import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Told } from '../books.js';
import { NodeDied, NodeFault } from '../node.js';
import type { Buyer } from '../offer.js';
import type { FromService, ServiceSetup, ToService } from './service.js';

/** A process of a service, seen from its parent. */
export interface ServiceNode {
  readonly name: string;
  readonly pid: number;
  readonly opened: Promise<void>;
  readonly isAlive: boolean;
  /** Of the order service. Rejects when the process dies meanwhile. */
  serve(buyer: Buyer): Promise<Told['answer']>;
  kill(): Promise<void>;
  close(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL('./start-service.mjs', import.meta.url));
const CLOSE_TIMEOUT_MS = 10_000;

/** Starts a process of a service; `opened` tells when it can serve. */
export function startService(setup: ServiceSetup, signal: AbortSignal): ServiceNode {
  signal.throwIfAborted();
  const child = fork(PROGRAM, { serialization: 'advanced' });
  const exited = once(child, 'exit');
  const waiting = new Map<string, (answer: Told['answer'] | Error) => void>();
  let end: Error | undefined;
  const fail = (error: Error): void => {
    end ??= error;
    for (const settle of [...waiting.values()]) settle(end);
  };
  const opened = new Promise<void>((resolve, reject) => {
    child.on('message', (raw) => {
      const message = raw as FromService;
      if (message.kind === 'fault') fail(new NodeFault(`${setup.node}: ${message.text}`));
      if (message.kind === 'served') waiting.get(message.orderId)?.(message.answer);
      if (end === undefined) resolve();
      else reject(end);
    });
    child.once('exit', (code, by) => {
      fail(new NodeDied(`${setup.node} (process ${child.pid}) ended with ${by ?? code}`));
      reject(end);
    });
  });
  opened.catch(() => {});
  signal.addEventListener('abort', () => child.kill('SIGKILL'), { once: true });
  send(child, { kind: 'open', setup });
  return {
    name: setup.node,
    pid: child.pid ?? 0,
    opened,
    get isAlive() {
      return end === undefined;
    },
    serve(buyer) {
      if (end !== undefined) return Promise.reject(end);
      return new Promise((resolve, reject) => {
        waiting.set(buyer.orderId, (answer) => {
          waiting.delete(buyer.orderId);
          if (answer instanceof Error) reject(answer);
          else resolve(answer);
        });
        send(child, { kind: 'serve', buyer });
      });
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      send(child, { kind: 'close' });
      const late = setTimeout(() => child.kill('SIGKILL'), CLOSE_TIMEOUT_MS);
      await exited;
      clearTimeout(late);
    },
  };
}

function send(child: ChildProcess, message: ToService): void {
  // An error says that the process is gone, which its exit tells as well.
  child.send(message, () => {});
}
