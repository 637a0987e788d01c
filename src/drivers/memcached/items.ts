import type { CallBounds } from '../../cache/driver.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import { type MemcachedAddress, parseAddresses } from './addresses.js';
import type { Answer, MemcachedConnection } from './connection.js';
import { unavailable, unknown } from './errors.js';
import { type FoundItem, foundItem, isHoldFlag, type Payload } from './item.js';
import type { ItemKey, MemcachedKeys } from './keys.js';
import { flagOf } from './meta-reader.js';
import { hashRing } from './ring.js';
import { type MemcachedServer, memcachedServer } from './server.js';

/** What a conditional command came to. */
export type Change =
  | { readonly state: 'done'; readonly cas: string | undefined; readonly answer: Answer }
  /** Somebody changed the item, or it is there although it should not be. */
  | { readonly state: 'changed' }
  | { readonly state: 'missing' };

/** An item as it was, with what is needed to change it if it still is so. */
export interface Sight {
  readonly found: FoundItem | undefined;
  readonly answer: Answer;
}

/** The calls of one operation on one key, which share its time. */
export interface ItemCalls {
  /** `mg` with everything. */
  look(): Promise<Sight>;
  /** `mg` with the value and its time. */
  read(): Promise<Sight>;
  /** `mg` without the value: whether somebody holds the key, and the number; undefined: nothing. */
  glance(): Promise<Glance | undefined>;
  /** `ms`, only if nothing is there. */
  add(payload: Payload, seconds: number): Promise<Change>;
  /** `ms`, whatever is there. */
  put(payload: Payload, seconds: number): Promise<Change>;
  /** `ms`, only if the item is the one with this number, seen on this connection. */
  replace(sight: Target, payload: Payload, seconds: number): Promise<Change>;
  /** `md`, only if the item is the one with this number, seen on this connection. */
  remove(sight: Target): Promise<Change>;
  /** The generation that the key's server had last; put there when it has none. */
  generation(): Promise<string>;
}

/** What a look without the value tells. */
export interface Glance extends Target {
  readonly isHold: boolean;
}

/** The number of an item, and the connection on which it was seen. */
export interface Target {
  readonly cas: string;
  readonly connection: MemcachedConnection;
}

/** The items of one cache on all of its servers. */
export interface MemcachedItems {
  /** The calls of one operation, which takes no longer than the bounds allow. */
  calls(key: ItemKey, operation: string, bounds: CallBounds): ItemCalls;
  /** Gives every server another generation. Rejects when one of them did not acknowledge it. */
  renewGenerations(bounds: CallBounds): Promise<void>;
  close(): void;
}

const GENERATION_LENGTH = 11;

/** Opens nothing yet. */
export function memcachedItems(options: {
  readonly servers: string | readonly string[];
  readonly keys: MemcachedKeys;
  readonly clock: Clock;
  readonly random: Random;
}): MemcachedItems {
  const { keys, clock, random } = options;
  const addresses: readonly MemcachedAddress[] = parseAddresses(options.servers);
  const generationCommand = `mg ${keys.generation} v\r\n`;
  const servers = addresses.map((address) =>
    memcachedServer({ address, clock, random, generationCommand }),
  );
  const indexOf = hashRing(addresses);
  const newGeneration = (): string => random.token(GENERATION_LENGTH);
  const shards = servers.map((server): Shard => ({ server, generation: undefined }));
  const parts = { keys, clock, newGeneration };

  return {
    calls(key, operation, bounds) {
      const shard = shards[indexOf(key.text)];
      if (shard === undefined) throw new RangeError(`no server has ${key.text}`);
      return itemCalls(parts, { shard, key, operation }, bounds);
    },
    async renewGenerations({ timeoutMs }) {
      const command = setCommand(keys.generation, { flags: 0, text: newGeneration() }, 'T0');
      await Promise.all(servers.map((server) => server.send('clear', command, timeoutMs)));
    },
    close() {
      for (const server of servers) server.close();
    },
  };
}

/** One server, and the generation that it had when it answered last. */
interface Shard {
  readonly server: MemcachedServer;
  generation: string | undefined;
}

function itemCalls(
  parts: {
    readonly keys: MemcachedKeys;
    readonly clock: Clock;
    readonly newGeneration: () => string;
  },
  place: { readonly shard: Shard; readonly key: ItemKey; readonly operation: string },
  { timeoutMs }: CallBounds,
): ItemCalls {
  const { keys, clock, newGeneration } = parts;
  const { shard, key, operation } = place;
  const since = instantOf(clock);
  const leftMs = (): number => {
    const left = timeoutMs - elapsedMs(clock, since);
    if (left <= 0) throw unknown(operation, `it was not done within ${timeoutMs} ms`);
    return left;
  };
  const noted = (answer: Answer): Answer => {
    shard.generation = answer.generation;
    return answer;
  };
  const send = async (command: string): Promise<Answer> =>
    noted(await shard.server.send(operation, command, leftMs()));
  const sendOn = async (connection: MemcachedConnection, command: string): Promise<Answer> => {
    // After a restart the numbers begin again, and one may mean another item.
    if (!connection.isOpen) throw unavailable(operation, 'the connection was closed in between');
    return noted(await connection.request(operation, command, leftMs()));
  };
  const set = (payload: Payload, flags: string): string => setCommand(key.text, payload, flags);

  return {
    async look() {
      const answer = await send(`mg ${key.text} v f c t\r\n`);
      return { found: foundItem(answer, key), answer };
    },
    async read() {
      const answer = await send(`mg ${key.text} v f t\r\n`);
      return { found: foundItem(answer, key), answer };
    },
    async glance() {
      const { reply, connection } = await send(`mg ${key.text} f c\r\n`);
      if (reply.status !== 'HD') return undefined;
      return { isHold: isHoldFlag(flagOf(reply, 'f')), cas: flagOf(reply, 'c') ?? '0', connection };
    },
    add: async (payload, seconds) => changeOf(await send(set(payload, `ME T${seconds} c`))),
    put: async (payload, seconds) => changeOf(await send(set(payload, `T${seconds} c`))),
    replace: async ({ cas, connection }, payload, seconds) =>
      changeOf(await sendOn(connection, set(payload, `C${cas} T${seconds} c`))),
    remove: async ({ cas, connection }) =>
      changeOf(await sendOn(connection, `md ${key.text} C${cas}\r\n`)),
    async generation() {
      if (shard.generation !== undefined) return shard.generation;
      const own = newGeneration();
      const payload = { flags: 0, text: own };
      const added = await send(setCommand(keys.generation, payload, 'ME T0'));
      if (added.reply.status === 'HD') shard.generation = own;
      else await send(`mg ${keys.generation} v\r\n`);
      // Should it have gone again, what is written with this one is never read.
      return shard.generation ?? own;
    },
  };
}

function setCommand(key: string, { flags, text }: Payload, more: string): string {
  return `ms ${key} ${Buffer.byteLength(text)} F${flags} ${more}\r\n${text}\r\n`;
}

function changeOf(answer: Answer): Change {
  const { status, rest } = answer.reply;
  if (status === 'HD') return { state: 'done', cas: casOf(rest), answer };
  return { state: status === 'NF' ? 'missing' : 'changed' };
}

function casOf(rest: string): string | undefined {
  return /(?:^| )c(\d+)/.exec(rest)?.[1];
}
