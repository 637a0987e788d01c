// Sends the scripts of locks on Redis by hand, and reads what they keep.

import type { Redis } from 'ioredis';
import { type RedisKeys, redisKeys } from '../../src/drivers/redis/keys.js';
import { ACQUIRE, ACQUIRE_PLAIN } from '../../src/drivers/redis/lock/acquire.js';
import { ACQUIRE_ALL } from '../../src/drivers/redis/lock/acquire-all.js';
import { CANCEL } from '../../src/drivers/redis/lock/cancel.js';
import { FORCE } from '../../src/drivers/redis/lock/force.js';
import { HEARTBEAT } from '../../src/drivers/redis/lock/heartbeat.js';
import { RELEASE, RELEASE_PLAIN } from '../../src/drivers/redis/lock/release.js';
import { DOWNGRADE, RENEW, RESERVE } from '../../src/drivers/redis/lock/renew.js';
import type { RedisScript } from '../../src/drivers/redis/script.js';

export const TTL_MS = 30_000;
export const TOMBSTONE_MS = 60_000;

export interface Terms {
  readonly mode?: 'x' | 's' | 'c';
  readonly permits?: number;
  readonly capacity?: number;
  readonly tokens?: number;
  readonly ttlMs?: number;
  readonly delayMs?: number;
  readonly patienceMs?: number;
  readonly wait?: boolean;
}

/** What a request stores, as the driver writes it. */
export function terms(id: string, options: Terms = {}): string {
  const { mode = 'x', permits = 1, tokens = 1, ttlMs = TTL_MS, delayMs = 0 } = options;
  const { patienceMs = 3_000, capacity = mode === 's' ? 2 ** 52 : 1 } = options;
  const incarnation = id.slice(0, id.indexOf('.'));
  const provisionalMs = Math.min(ttlMs, 2_000);
  const kept = `${provisionalMs},${patienceMs},${delayMs},${TOMBSTONE_MS}`;
  return `${ttlMs},${mode},${permits},${capacity},${tokens},${kept},${incarnation},r@${incarnation}`;
}

/** The verbs, each one send of its script. */
export function scriptStage(client: Redis, namespace: string) {
  const keys: RedisKeys = redisKeys('lock', namespace);
  let renewals = 0;
  const run = (script: RedisScript, resources: readonly string[], ...values: (string | number)[]) =>
    client.eval(
      script.lua,
      resources.length,
      ...resources.map((resource) => keys.key(resource)),
      ...values,
    );
  return {
    keys,
    async acquire(resource: string, id: string, options: Terms = {}): Promise<string> {
      const isPlain = terms(id, options).includes(',x,1,1,1,');
      const values = [id, terms(id, options), ...(options.wait === false ? ['0'] : [])];
      return String(await run(isPlain ? ACQUIRE_PLAIN : ACQUIRE, [resource], ...values));
    },
    acquireAll: (resources: readonly string[], ids: readonly string[], options: Terms = {}) =>
      run(ACQUIRE_ALL, resources, ...ids.flatMap((id) => [id, terms(id, options)])),
    release: (resource: string, id: string) => run(RELEASE_PLAIN, [resource], id),
    releaseUnsure: (resource: string, id: string) => run(RELEASE, [resource], id, TOMBSTONE_MS),
    cancel: (resource: string, id: string) => run(CANCEL, [resource], id, TOMBSTONE_MS),
    async heartbeat(resource: string, id: string): Promise<unknown> {
      return ((await run(HEARTBEAT, [resource], id, TTL_MS)) as unknown[])[0];
    },
    async renew(resource: string, id: string, ttlMs = TTL_MS, number?: number): Promise<unknown> {
      renewals += 1;
      return ((await run(RENEW, [resource], number ?? renewals, id, ttlMs)) as unknown[])[0];
    },
    reserve: (resource: string, id: string, count: number) => run(RESERVE, [resource], id, count),
    downgrade: (resource: string, id: string) => run(DOWNGRADE, [resource], id),
    force: (resource: string, order: string, why: string) =>
      run(FORCE, [resource], order, TOMBSTONE_MS, why),
    read: (resource: string) => readResource(client, keys.key(resource)),
    /** Changes the record behind the scripts' backs, as a clock that was set would. */
    async edit(resource: string, change: (record: string[]) => void): Promise<void> {
      const record = fieldsOf(await client.hget(keys.key(resource), 'r'));
      change(record);
      await client.hset(keys.key(resource), 'r', record.join('|'));
    },
  };
}

/** The fields of a record, by place. */
export const RECORD = { last: 1, epoch: 2, line: 3, tombs: 4, watched: 5, fresh: 6, holders: 8 };

/** The fields of a record, also of one that is written short. */
function fieldsOf(text: string | null): string[] {
  const [, last, fresh, released = ''] = FREE.exec(text ?? '') ?? [];
  if (last !== undefined) return ['1', last, '', '0', '0', '0', fresh ?? '', released, ''];
  const [, until = '', at, id, before = '', terms] = HELD.exec(text ?? '') ?? [];
  if (at === undefined) return String(text).split('|');
  return ['1', at, '', '0', '0', '0', until, before, `${at},${at},${at},0,${id},${terms}`];
}

const FREE = /^1f(\d{16})(\d{16})(.*)$/;
const HELD = /^1h(\d{16})(\d{16})([^,]+),([^,]*),(.*)$/;

/** What is kept of a resource, with its lists walked; throws when a list is broken. */
async function readResource(client: Redis, key: string) {
  const fields = await client.hgetall(key);
  const record = fieldsOf(fields.r ?? '1|0||0|0|0|0||');
  const holders = (record[RECORD.holders] ?? '').split(';').filter((text) => text !== '');
  const line = walk(record[RECORD.line] ?? '0', (id) => fields[`w:${id}`]?.split(',')[4]);
  const tombs = walk(record[RECORD.tombs] ?? '0', (id) => fields[`t:${id}`]?.split(',')[1]);
  const count = (kind: string): number =>
    Object.keys(fields).filter((name) => name.startsWith(kind)).length;
  if (count('w:') !== line.length)
    throw new Error(`${count('w:')} waiters, ${line.length} in line`);
  if (count('t:') !== tombs.length) throw new Error(`${count('t:')} ends, ${tombs.length} listed`);
  return {
    last: BigInt(record[RECORD.last] ?? '0'),
    holders: holders.map((text) => {
      const [at = '', fence = '', , , id = '', ttl = '', mode = '', permits, capacity] =
        text.split(',');
      return { id, mode, at, ttl, fence, permits: Number(permits), capacity: Number(capacity) };
    }),
    line,
    tombs,
    fields,
  };
}

/** The members of a linked list `count:first:last`. */
function walk(text: string, next: (id: string) => string | undefined): string[] {
  if (text === '0') return [];
  const [count, first = '', last] = text.split(':');
  const ids: string[] = [];
  for (let id = first; id !== ''; ) {
    if (ids.includes(id)) throw new Error(`${id} stands twice in ${text}`);
    ids.push(id);
    const behind = next(id);
    if (behind === undefined) throw new Error(`${id} is nowhere in ${text}`);
    id = behind;
  }
  if (ids.length !== Number(count) || ids.at(-1) !== last) throw new Error(`${text} is ${ids}`);
  return ids;
}
