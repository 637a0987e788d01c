import { onAbort, throwIfAborted } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { deadlines } from '../../core/deadlines.js';
import { emitterOf, type RedisArgument, type RedisClient } from './client.js';
import { directSender } from './direct.js';
import { redisError, unavailable, unknown } from './errors.js';
import { isNoScript, type RedisScript, runScript, sendHash, sendWhole } from './script.js';

/** How long one command may take, from asking for it to its answer, unless the caller says. */
export const REPLY_TIMEOUT_MS_DEFAULT = 2_000;

/** Bounds of one call. */
export interface RedisCallOptions {
  /** The answer is awaited for so long, in milliseconds, the wait for a connection included. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait with the signal's reason; a command that was sent may still take effect. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls of a client that was passed in, each with a deadline of its own.
 *
 * By default ioredis queues commands for ever while it is not connected, and after a reconnect
 * sends again what was not answered. So: a command is handed to the client only when it is ready,
 * which keeps it out of that queue; the wait for its answer is bounded whatever the client's
 * options; and a script may run twice, which every script of tricord allows for.
 */
export interface RedisCalls {
  readonly client: RedisClient;
  /**
   * Runs a script. Rejects with what {@link redisError} makes of it, or with the signal's reason.
   */
  script(
    script: RedisScript,
    keys: readonly string[],
    values: readonly RedisArgument[],
    options?: RedisCallOptions,
  ): Promise<unknown>;
  /** Makes any other call of the client, with the same bounds; `operation` names it in errors. */
  send<Reply>(
    operation: string,
    call: () => Promise<Reply>,
    options?: RedisCallOptions,
  ): Promise<Reply>;
  /** How often the connection has closed: a change tells that a command may have been sent twice. */
  closeCount(): number;
  /** Stops listening to the client, and rejects waits for a connection. Idempotent. */
  dispose(): void;
}

/** Bounded calls of a client. Listens to it from the first call on. */
export function redisCalls(options: {
  readonly client: RedisClient;
  readonly clock: Clock;
  readonly timeoutMs?: number | undefined;
}): RedisCalls {
  const { client, clock, timeoutMs: timeoutMsDefault = REPLY_TIMEOUT_MS_DEFAULT } = options;
  const connection = connectionOf(client);
  const times = deadlines(clock);
  const sendDirectly = directSender(client);

  /** What a client that is ready is asked: with one promise, and no timer or listener of its own. */
  const sendNow = (
    script: RedisScript,
    keys: readonly string[],
    values: readonly RedisArgument[],
    timeoutMs: number,
  ): Promise<unknown> => {
    const closesBefore = connection.closeCount;
    return new Promise((resolve, reject) => {
      const letGo = times.after(timeoutMs, () => reject(noAnswer(script.name, timeoutMs)));
      const succeed = (reply: unknown): void => {
        letGo();
        resolve(reply);
      };
      const fail = (error: unknown): void => {
        letGo();
        // A cluster sends again by itself after a redirection or a lost node, without telling.
        const maybeResent = client.isCluster || connection.closeCount !== closesBefore;
        reject(redisError(error, { operation: script.name, sent: true, maybeResent }));
      };
      const failed = (error: unknown): void => {
        if (!isNoScript(error)) fail(error);
        else sendWhole(client, script, keys, values).then(succeed, fail);
      };
      if (sendDirectly?.(script, keys, values, succeed, failed)) return;
      sendHash(client, script, keys, values).then(succeed, failed);
    });
  };
  const send = async <Reply>(
    operation: string,
    call: () => Promise<Reply>,
    { timeoutMs = timeoutMsDefault, signal }: RedisCallOptions = {},
  ): Promise<Reply> => {
    throwIfAborted(signal);
    connection.open();
    let sent = false;
    let closesBefore = 0;
    let abandoned = false;
    const run = async (): Promise<Reply> => {
      // The caller was told that nothing was sent; it must stay true when the connection comes.
      if (abandoned) throw unavailable(operation, 'its time was up');
      sent = true;
      closesBefore = connection.closeCount;
      return connection.orCut(call());
    };
    const late = (): unknown =>
      sent
        ? noAnswer(operation, timeoutMs)
        : unavailable(operation, `the client was not connected within ${timeoutMs} ms`);
    const answer = client.status === 'ready' ? run() : connection.whenReady().then(run);
    try {
      return await bounded(answer, { clock, timeoutMs, late, signal });
    } catch (error) {
      abandoned = true;
      // A cluster sends again by itself after a redirection or a lost node, without telling.
      const maybeResent = client.isCluster || connection.closeCount !== closesBefore;
      if (signal?.aborted && error === signal.reason) throw error;
      throw redisError(error, { operation, sent, maybeResent });
    }
  };

  return {
    client,
    send,
    script(script, keys, values, callOptions) {
      if (!connection.isReady || callOptions?.signal !== undefined) {
        return send(script.name, () => runScript(client, script, keys, values), callOptions);
      }
      return sendNow(script, keys, values, callOptions?.timeoutMs ?? timeoutMsDefault);
    },
    closeCount: () => connection.closeCount,
    dispose: () => connection.dispose(),
  };
}

function noAnswer(operation: string, timeoutMs: number): unknown {
  return unknown(operation, `no answer within ${timeoutMs} ms`);
}

/** Settles as `answer` does, or rejects when time is up or the signal aborts; the loser is observed. */
function bounded<T>(
  answer: Promise<T>,
  options: {
    readonly clock: Clock;
    readonly timeoutMs: number;
    readonly late: () => unknown;
    readonly signal: AbortSignal | undefined;
  },
): Promise<T> {
  const { clock, timeoutMs, late, signal } = options;
  return new Promise<T>((resolve, reject) => {
    const cancel = clock.schedule(timeoutMs, () => finish(() => reject(late())));
    const stop = onAbort(signal, () => finish(() => reject(signal?.reason)));
    const finish = (settle: () => void): void => {
      cancel();
      stop();
      settle();
    };
    answer.then(
      (value) => finish(() => resolve(value)),
      (error) => finish(() => reject(error)),
    );
  });
}

interface Connection {
  readonly closeCount: number;
  /** Commands are written at once, and each one that was sent is settled by the client some day. */
  readonly isReady: boolean;
  open(): void;
  whenReady(): Promise<void>;
  /** The answer; or a rejection when the connection closes and the client will not send again. */
  orCut<Reply>(answer: Promise<Reply>): Promise<Reply>;
  dispose(): void;
}

/** Follows the state of a client with two listeners, however many calls wait. */
function connectionOf(client: RedisClient): Connection {
  let closeCount = 0;
  let isOpen = false;
  const waiting = new Set<{ resolve(): void; reject(error: unknown): void }>();
  // Such a client forgets what was under way when the connection closed: it is never settled.
  const forgets = client.options.autoResendUnfulfilledCommands === false;
  const underWay = new Set<(error: unknown) => void>();
  const settle = (error?: unknown): void => {
    for (const { resolve, reject } of [...waiting]) error ? reject(error) : resolve();
    waiting.clear();
  };
  const listeners: Record<string, () => void> = {
    ready: () => settle(),
    close: () => {
      closeCount += 1;
      for (const reject of [...underWay]) reject(new Error('the connection was closed'));
    },
    end: () => settle(new Error('the client is closed')),
  };
  return {
    get closeCount() {
      return closeCount;
    },
    get isReady() {
      return isOpen && !forgets && client.status === 'ready';
    },
    open() {
      if (isOpen) return;
      isOpen = true;
      // Many locks and caches may share a client; that is no leak worth a warning of Node's.
      changeMaxListeners(client, 1);
      for (const [event, listener] of Object.entries(listeners)) client.on(event, listener);
    },
    async whenReady() {
      if (client.status === 'end') throw new Error('the client is closed');
      // A client with lazyConnect connects at its first use; this is one. Others ignore it.
      if (client.status === 'wait') client.connect().catch(() => {});
      await new Promise<void>((resolve, reject) => waiting.add({ resolve, reject }));
    },
    async orCut(answer) {
      if (!forgets) return answer;
      let stop = (): void => {};
      const cut = new Promise<never>((_, reject) => {
        underWay.add(reject);
        stop = () => underWay.delete(reject);
      });
      try {
        return await Promise.race([answer, cut]);
      } finally {
        stop();
      }
    },
    dispose() {
      if (!isOpen) return;
      isOpen = false;
      for (const [event, listener] of Object.entries(listeners))
        emitterOf(client).off(event, listener);
      changeMaxListeners(client, -1);
      settle(new Error('tricord no longer uses this client'));
    },
  };
}

function changeMaxListeners(client: RedisClient, by: 1 | -1): void {
  const emitter = emitterOf(client);
  const max = emitter.getMaxListeners();
  // Zero means no limit and stays.
  if (max > 0) emitter.setMaxListeners(Math.max(max + by, 1));
}
