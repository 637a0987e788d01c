import { invalidArgument } from '../../core/validate.js';

/** What may stand as a key or argument of a command. */
export type RedisArgument = string | number | Uint8Array;

/** What a client tells of itself: the part that ioredis declares without Node's own types. */
export interface RedisEvents {
  /** As of Node's EventEmitter. */
  on(event: string, listener: (...values: string[]) => void): unknown;
  /** As of Node's EventEmitter. */
  once(event: string, listener: (...values: string[]) => void): unknown;
}

/** Every client is an event emitter of Node, which a program without Node's types cannot see. */
export interface RedisEmitter extends RedisEvents {
  off(event: string, listener: (...values: string[]) => void): unknown;
  getMaxListeners(): number;
  setMaxListeners(count: number): unknown;
}

/**
 * A Redis client as tricord uses it: `Redis` and `Cluster` of ioredis 5 and 6 both fit.
 *
 * tricord never configures, connects for good or closes a client that it was given, except that a
 * client created with `lazyConnect` is connected by its first use, as ioredis itself does.
 */
export interface RedisClient extends RedisEvents {
  /** `ready` when commands are written at once. */
  readonly status: string;
  /** Whether it is a `Cluster`. */
  readonly isCluster: boolean;
  /** The options that it was created with. */
  readonly options: RedisClientOptions;
  /** Connects a client that was created with `lazyConnect`. */
  connect(): Promise<unknown>;
  /** EVAL, where the server does not know the script yet. */
  eval(lua: string, keyCount: number, ...keysAndArguments: RedisArgument[]): Promise<unknown>;
  /** EVALSHA. */
  evalsha(sha1: string, keyCount: number, ...keysAndArguments: RedisArgument[]): Promise<unknown>;
  /** INFO. */
  info(): Promise<string>;
  /** CONFIG GET. */
  config(subcommand: 'GET', parameter: string): Promise<unknown>;
  /** A second client with the same options; tricord owns and closes it. */
  duplicate(): RedisSubscriber;
}

/** The options of a client that matter here. */
export interface RedisClientOptions {
  /** What the client puts before every key. */
  readonly keyPrefix?: string | Uint8Array | undefined;
  /** False: what was not answered when the connection closed is neither sent again nor rejected. */
  readonly autoResendUnfulfilledCommands?: boolean | undefined;
  /** The same in a cluster. */
  readonly redisOptions?: { readonly keyPrefix?: string | Uint8Array | undefined } | undefined;
}

/** A connection that listens, made by `RedisClient.duplicate()`. */
export interface RedisSubscriber extends RedisEvents {
  /** `ready` when commands are written at once. */
  readonly status: string;
  /** Connects, where `duplicate` did not. */
  connect(): Promise<unknown>;
  /** SUBSCRIBE. */
  subscribe(...channels: string[]): Promise<unknown>;
  /** UNSUBSCRIBE. */
  unsubscribe(...channels: string[]): Promise<unknown>;
  /** Closes at once. */
  disconnect(): void;
}

/**
 * What the client puts before every key. Keys that reach a script through KEYS get it by
 * themselves; channels and tracking prefixes do not, so we put it before them.
 */
export function keyPrefixOf(client: RedisClient): string {
  const { keyPrefix, redisOptions } = client.options;
  const prefix = keyPrefix ?? redisOptions?.keyPrefix ?? '';
  return typeof prefix === 'string' ? prefix : Buffer.from(prefix).toString();
}

/** Refuses what is no client. @throws TypeError (INVALID_ARGUMENT) */
export function assertClient(client: RedisClient | undefined): asserts client is RedisClient {
  if (typeof client?.evalsha === 'function') return;
  throw invalidArgument('client', client, "a Redis or Cluster of the package 'ioredis'");
}

/** The client as the event emitter that it is. */
export function emitterOf(client: RedisClient): RedisEmitter {
  return client as RedisClient & RedisEmitter;
}
