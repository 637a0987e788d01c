import { channel } from 'node:diagnostics_channel';
import type { RedisArgument, RedisClient } from './client.js';
import type { RedisScript } from './script.js';

/**
 * Sends a script by its hash to a client that is ready, and calls one of the two once, perhaps before
 * it answers. False when it was not sent: then the client's own method has to do it.
 */
export type SendDirectly = (
  script: RedisScript,
  keys: readonly string[],
  values: readonly RedisArgument[],
  onReply: (reply: unknown) => void,
  onError: (error: unknown) => void,
) => boolean;

interface DirectClient extends RedisClient {
  /** Where every command of ioredis goes through. */
  sendCommand(command: object): unknown;
  /** What was written and is not answered yet. */
  readonly commandQueue: object;
}

/** Options under which a client does more with a command than send it. */
const INVOLVED = ['enableAutoPipelining', 'commandTimeout', 'showFriendlyErrorStack'] as const;
/** Who traces commands of ioredis awaits their promises, which commands of this kind do not have. */
const TRACERS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((event) =>
  channel(`tracing:ioredis:command:${event}`),
);
const DONE: Promise<void> = Promise.resolve();

/**
 * Sends scripts as commands of our own making; undefined where the client is not a plain `Redis` of
 * ioredis 5 or 6.
 *
 * Why: a good part of what an uncontended lock costs in this process is what ioredis does to make a
 * command (arguments copied twice and looked at one by one, a promise and five closures): a tenth of
 * a whole round trip, on one machine. Everything from `sendCommand` on is the client's: its queue,
 * its sending again after a reconnect, and what instruments it by wrapping that method.
 */
export function directSender(client: RedisClient): SendDirectly | undefined {
  const { sendCommand, commandQueue, options } = client as Partial<DirectClient>;
  const settings = (options ?? {}) as Readonly<Record<string, unknown>>;
  const { keyPrefix } = settings;
  const prefix = keyPrefix ?? '';
  const isPlain = client.isCluster === false && typeof commandQueue === 'object';
  if (!isPlain || typeof sendCommand !== 'function' || typeof prefix !== 'string') return undefined;
  if (INVOLVED.some((name) => settings[name])) return undefined;
  let isUnderstood = true;
  return (script, keys, values, onReply, onError) => {
    if (!isUnderstood || TRACERS.some(isListened)) return false;
    const args = [script.sha1, String(keys.length)];
    for (const key of keys) args.push(prefix + key);
    for (const value of values) {
      if (typeof value === 'object') return false;
      args.push(typeof value === 'string' ? value : String(value));
    }
    try {
      (client as DirectClient).sendCommand(new ScriptCommand(args, onReply, onError));
    } catch {
      // A client of another kind than those we know. Every script may be sent twice.
      isUnderstood = false;
    }
    return isUnderstood;
  };
}

const isListened = ({ hasSubscribers }: { readonly hasSubscribers: boolean }): boolean =>
  hasSubscribers;

/** A command with the properties that ioredis reads, and that its instruments read or replace. */
class ScriptCommand {
  readonly name = 'evalsha';
  readonly args: readonly string[];
  readonly promise = DONE;
  readonly isTraced = true;
  inTransaction = false;
  isResolved = false;
  isSettled = false;
  resolve: (reply: unknown) => void;
  reject: (error: unknown) => void;

  constructor(
    args: readonly string[],
    onReply: (reply: unknown) => void,
    onError: (error: unknown) => void,
  ) {
    this.args = args;
    this.resolve = (reply) => {
      this.isResolved = true;
      this.isSettled = true;
      onReply(typeof reply === 'number' ? reply : textOf(reply));
    };
    this.reject = (error) => {
      this.isSettled = true;
      onError(error);
    };
  }

  toWritable(): string {
    let text = `*${this.args.length + 1}\r\n$7\r\nevalsha\r\n`;
    for (const each of this.args) text += `$${Buffer.byteLength(each)}\r\n${each}\r\n`;
    return text;
  }

  /** Replies of scripts are the same in both protocols. */
  setReplyContext(): void {}

  /** It never blocks. */
  extractBlockingTimeout(): void {}
}

/** A reply as text, as the client's methods give it. */
function textOf(reply: unknown): unknown {
  if (Buffer.isBuffer(reply)) return reply.toString();
  return Array.isArray(reply) ? reply.map(textOf) : reply;
}
