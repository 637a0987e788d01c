import { connect, type Socket } from 'node:net';
import type { TextEncoding } from '../../cache/driver.js';
import { abortScope, onAbort } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import { closedError } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import { addressText, type MemcachedAddress } from './addresses.js';
import { type Answer, type MemcachedConnection, memcachedConnection } from './connection.js';
import { unavailable, unsupported } from './errors.js';

/** One server, connected when it is needed, and again after the connection was lost. */
export interface MemcachedServer {
  /** The server's address, for messages. */
  readonly name: string;
  /**
   * Sends a request, and answers what `finish` makes of the reply, or rejects: BACKEND_UNAVAILABLE
   * when it was not sent, RESULT_UNKNOWN when it was and no reply came.
   */
  send<Result>(
    operation: string,
    command: string,
    timeoutMs: number,
    finish: (answer: Answer) => Result,
  ): Promise<Result>;
  /** Closes the connection. What is under way and what comes later rejects with CLOSED or as unknown. */
  close(): void;
}

interface Waiting {
  readonly operation: string;
  proceed(connection: MemcachedConnection): void;
  refuse(error: unknown): void;
}

const BACKOFF = { baseMs: 20, maxMs: 1_000 };
/** A server answers `version` within this many milliseconds, or the attempt has failed. */
const CONNECT_MS_MAX = 5_000;
/** So many requests may wait for the connection; more are refused. */
const WAITING_MAX = 1_000;
const OLDEST_VERSION = [1, 6, 12] as const;

/** A server that nothing was sent to yet. */
export function memcachedServer(options: {
  readonly address: MemcachedAddress;
  readonly clock: Clock;
  readonly random: Random;
  readonly generationCommand: string;
  readonly encoding: TextEncoding;
}): MemcachedServer {
  const { address, clock, random, generationCommand, encoding } = options;
  const name = addressText(address);
  const closing = new AbortController();
  const waiting = new Set<Waiting>();
  let connection: MemcachedConnection | undefined;
  let isConnecting = false;
  let failureCount = 0;
  let restingUntilMs = Number.NEGATIVE_INFINITY;
  let lastFailure: unknown;

  const connected = (socket: Socket): void => {
    if (closing.signal.aborted) {
      socket.on('error', () => {}).destroy();
      failed(closing.signal.reason);
      return;
    }
    isConnecting = false;
    failureCount = 0;
    const opened = memcachedConnection({
      socket,
      clock,
      generationCommand,
      encoding,
      onClose: () => {
        if (connection === opened) connection = undefined;
      },
    });
    connection = opened;
    for (const one of Array.from(waiting)) one.proceed(opened);
  };
  const failed = (error: unknown): void => {
    isConnecting = false;
    lastFailure = error;
    restingUntilMs = clock.monotonicMs() + backoffMs(failureCount, BACKOFF, random);
    failureCount += 1;
    for (const one of Array.from(waiting)) one.refuse(error);
  };
  const open = (): void => {
    if (isConnecting) return;
    isConnecting = true;
    greet(address, clock, closing.signal).then(connected, failed);
  };
  const waitAndSend = <Result>(
    operation: string,
    command: string,
    timeoutMs: number,
    finish: (answer: Answer) => Result,
  ): Promise<Result> =>
    new Promise((resolve, reject) => {
      const startedMs = clock.monotonicMs();
      const timeout = (): void =>
        one.refuse(unavailable(operation, `${name} was not connected within ${timeoutMs} ms`));
      const cancel = clock.schedule(timeoutMs, timeout);
      const leave = (): void => {
        cancel();
        waiting.delete(one);
      };
      const one: Waiting = {
        operation,
        proceed(opened) {
          leave();
          const leftMs = Math.max(timeoutMs - (clock.monotonicMs() - startedMs), 1);
          resolve(opened.request(operation, command, leftMs, finish));
        },
        refuse(error) {
          leave();
          reject(error);
        },
      };
      waiting.add(one);
      open();
    });

  return {
    name,
    send(operation, command, timeoutMs, finish) {
      if (connection !== undefined) {
        return connection.request(operation, command, timeoutMs, finish);
      }
      if (closing.signal.aborted) return Promise.reject(closedError('the cache'));
      const isResting = clock.monotonicMs() < restingUntilMs;
      if (isResting) return Promise.reject(lastFailure);
      if (waiting.size >= WAITING_MAX) {
        return Promise.reject(unavailable(operation, `${WAITING_MAX} requests wait for ${name}`));
      }
      return waitAndSend(operation, command, timeoutMs, finish);
    },
    close() {
      closing.abort(closedError('the cache'));
      connection?.close('the cache was closed');
    },
  };
}

/** Connects and asks for the version, so that nothing is sent to a server that cannot serve. */
async function greet(
  address: MemcachedAddress,
  clock: Clock,
  closed: AbortSignal,
): Promise<Socket> {
  const name = addressText(address);
  using scope = abortScope({ clock, parents: [closed], timeoutMs: CONNECT_MS_MAX });
  const socket = connect({ ...address, noDelay: true, keepAlive: true });
  try {
    const version = await new Promise<string>((resolve, reject) => {
      let text = '';
      const stop = onAbort(scope.signal, () => reject(scope.signal.reason));
      socket.on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1');
        if (!text.includes('\n') && text.length < 256) return;
        stop();
        resolve(text.trim());
      });
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the connection was closed')));
      socket.write('version\r\n');
    });
    checkVersion(version);
    socket.removeAllListeners();
    return socket;
  } catch (error) {
    socket.removeAllListeners();
    // Destroying a socket may still tell of an error.
    socket.on('error', () => {});
    socket.destroy();
    if (closed.aborted) throw closed.reason;
    if (error instanceof Error && 'code' in error && error.code === 'BACKEND_UNSUPPORTED') {
      throw error;
    }
    const why = error instanceof Error ? error.message : String(error);
    throw unavailable('connect', `${name}: ${why}`, error);
  }
}

function checkVersion(answer: string): void {
  const found = /^VERSION (\d+)\.(\d+)\.(\d+)/.exec(answer)?.slice(1).map(Number);
  const firstDifference = OLDEST_VERSION.map((oldest, part) => (found?.[part] ?? -1) - oldest).find(
    (difference) => difference !== 0,
  );
  if (found === undefined || (firstDifference ?? 0) < 0) {
    throw unsupported('version', answer.slice(0, 60), OLDEST_VERSION.join('.'));
  }
}
