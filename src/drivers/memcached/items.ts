import type { CasChange, CasItem, CasStore } from '../../cache/cas-tier.js';
import type { CallBounds, TextEncoding } from '../../cache/driver.js';
import { sleep } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import { type MemcachedAddress, parseAddresses } from './addresses.js';
import type { Answer, MemcachedConnection } from './connection.js';
import { unavailable, unknown } from './errors.js';
import {
  GENERATION_LENGTH,
  isHoldFlag,
  type Payload,
  payloadOf,
  secondsOf,
  stateOf,
} from './item.js';
import type { ItemKey, MemcachedKeys } from './keys.js';
import { flagOf } from './meta-reader.js';
import { hashRing } from './ring.js';
import { type MemcachedServer, memcachedServer } from './server.js';

/** By what an item can be changed if nobody changed it since. */
export interface Target {
  /** The number that the server gave to this state of the item. */
  readonly cas: string;
  /** Where it was seen: after a restart the numbers begin again, and one may mean another item. */
  readonly connection: MemcachedConnection;
  /** The cache's generation on this server at that time. */
  readonly generation: string;
}

/** The items of one cache on all of its servers. */
export interface MemcachedItems {
  /** What stands at a key: the hot path, with no promise but the caller's. */
  read: CasStore<Target>['read'];
  /** An item during one operation, which takes no longer than the bounds allow. */
  item(key: string, operation: string, bounds: CallBounds): CasItem<Target>;
  /** Any other request, to the server that has an item of this name. */
  ask(name: string, operation: string, command: string, timeoutMs: number): Promise<Answer>;
  /** Gives every server another generation. Rejects when one of them did not acknowledge it. */
  renewGenerations(bounds: CallBounds): Promise<void>;
  close(): void;
}

/** One server, and the generation that it had when it answered last. */
interface Shard {
  readonly server: MemcachedServer;
  generation: string | undefined;
}

/** Between attempts on an item that others change too. */
const PAUSE = { baseMs: 1, maxMs: 50 };

/** Opens nothing yet. */
export function memcachedItems(options: {
  readonly servers: string | readonly string[];
  readonly keys: MemcachedKeys;
  readonly clock: Clock;
  readonly random: Random;
  readonly encoding: TextEncoding;
}): MemcachedItems {
  const { keys, clock, random, encoding } = options;
  const addresses: readonly MemcachedAddress[] = parseAddresses(options.servers);
  const generationCommand = `mg ${keys.generation} v\r\n`;
  const shards = addresses.map((address): Shard => {
    const server = memcachedServer({ address, clock, random, generationCommand, encoding });
    return { server, generation: undefined };
  });
  const indexOf = hashRing(addresses);
  const shardOf = (name: string): Shard => {
    const shard = shards[indexOf(name)];
    if (shard === undefined) throw new RangeError(`no server has ${name}`);
    return shard;
  };
  const newGeneration = (): string => random.token(GENERATION_LENGTH);

  return {
    read(key, { timeoutMs, withRemaining }, finish) {
      const itemKey = keys.item(key);
      const shard = shardOf(itemKey.text);
      const command = withRemaining ? `mg ${itemKey.text} v f t\r\n` : `mg ${itemKey.text} v f\r\n`;
      return shard.server.send('read', command, timeoutMs, (answer) => {
        shard.generation = answer.generation;
        return finish(stateOf(answer, itemKey));
      });
    },
    item(key, operation, bounds) {
      const itemKey = keys.item(key);
      const shard = shardOf(itemKey.text);
      return newItem(
        { keys, clock, random, encoding, newGeneration, shard, key: itemKey, operation },
        bounds,
      );
    },
    async ask(name, operation, command, timeoutMs) {
      return shardOf(name).server.send(operation, command, timeoutMs, asItIs);
    },
    async renewGenerations({ timeoutMs }) {
      const payload = { flags: 0, text: newGeneration() };
      const command = setCommand(keys.generation, payload, 'T0');
      await Promise.all(
        shards.map(({ server }) => server.send('clear', command, timeoutMs, asItIs)),
      );
    },
    close() {
      for (const { server } of shards) server.close();
    },
  };
}

const asItIs = (answer: Answer): Answer => answer;

interface ItemParts {
  readonly keys: MemcachedKeys;
  readonly clock: Clock;
  readonly random: Random;
  readonly encoding: TextEncoding;
  readonly newGeneration: () => string;
  readonly shard: Shard;
  readonly key: ItemKey;
  readonly operation: string;
}

function newItem(parts: ItemParts, bounds: CallBounds): CasItem<Target> {
  const { key, shard, clock, random, encoding } = parts;
  const { send, sendOn, leftMs } = senders(parts, bounds);
  const generationNow = (): Promise<string> => generationOf(parts, send);
  const targetOf = async (answer: Answer): Promise<Target> => ({
    cas: flagOf(answer.reply, 'c') ?? '0',
    connection: answer.connection,
    generation: answer.generation ?? (await generationNow()),
  });

  return {
    async look() {
      const answer = await send(`mg ${key.text} v f c t\r\n`);
      const state = stateOf(answer, key);
      return state && { state, target: await targetOf(answer) };
    },
    async glance() {
      const answer = await send(`mg ${key.text} f c\r\n`);
      if (answer.reply.status !== 'HD') return undefined;
      return { isHold: isHoldFlag(flagOf(answer.reply, 'f')), target: await targetOf(answer) };
    },
    async add(state) {
      const generation = shard.generation ?? (await generationNow());
      const payload = payloadOf(key, state, generation);
      const command = setCommand(key.text, payload, `ME T${secondsOf(state)} c`, encoding);
      return changeOf(await send(command), generation);
    },
    async put(state) {
      const payload = payloadOf(key, state, '');
      await send(setCommand(key.text, payload, `T${secondsOf(state)}`, encoding));
    },
    async replace({ cas, connection, generation }, state) {
      const payload = payloadOf(key, state, generation);
      const command = setCommand(key.text, payload, `C${cas} T${secondsOf(state)} c`, encoding);
      return changeOf(await sendOn(connection, command), generation);
    },
    async remove({ cas, connection }) {
      const { reply } = await sendOn(connection, `md ${key.text} C${cas}\r\n`);
      return reply.status === 'HD' ? 'done' : 'changed';
    },
    async pause(attempts) {
      await sleep(clock, Math.min(backoffMs(attempts, PAUSE, random), leftMs()));
    },
  };
}

/** Requests that share the time of one operation. */
function senders({ clock, shard, operation }: ItemParts, { timeoutMs }: CallBounds) {
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
  return {
    leftMs,
    send: async (command: string): Promise<Answer> =>
      shard.server.send(operation, command, leftMs(), noted),
    async sendOn(connection: MemcachedConnection, command: string): Promise<Answer> {
      if (!connection.isOpen) throw unavailable(operation, 'the connection was closed in between');
      return connection.request(operation, command, leftMs(), noted);
    },
  };
}

/** The generation of the key's server; put there when it has none. */
async function generationOf(
  { keys, shard, newGeneration }: ItemParts,
  send: (command: string) => Promise<Answer>,
): Promise<string> {
  const own = newGeneration();
  const added = await send(setCommand(keys.generation, { flags: 0, text: own }, 'ME T0'));
  if (added.reply.status === 'HD') shard.generation = own;
  else await send(`mg ${keys.generation} v\r\n`);
  // Should it have gone again, what is written with this one is never read.
  return shard.generation ?? own;
}

function setCommand(
  key: string,
  { flags, text }: Payload,
  more: string,
  encoding: TextEncoding = 'utf8',
): string {
  return `ms ${key} ${Buffer.byteLength(text, encoding)} F${flags} ${more}\r\n${text}\r\n`;
}

/** Of another generation it is never read: the cache was cleared in between. */
function changeOf({ reply, connection, generation: now }: Answer, generation: string) {
  if (reply.status !== 'HD') return { state: 'changed' } as const;
  const cas = flagOf(reply, 'c');
  const target = cas === undefined ? undefined : { cas, connection, generation };
  const change: CasChange<Target> = { state: 'done', isCurrent: now === generation, target };
  return change;
}
