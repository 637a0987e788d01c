import { throwIfAborted } from '../../../core/abort.js';
import type { ListCallOptions, LockInspection } from '../../../lock/driver.js';
import type { RedisCalls } from '../calls.js';
import { keyPrefixOf } from '../client.js';
import { decodeTag } from '../keys.js';
import { keyOf, type RedisLockContext } from './context.js';
import { INSPECT } from './look.js';
import { parseInspection } from './reply.js';

/** A node of a cluster, or a client that is alone. */
interface Scanner {
  scan(
    cursor: string,
    match: 'MATCH',
    pattern: string,
    count: 'COUNT',
    size: number,
  ): Promise<[cursor: string, keys: string[]]>;
}

/** What of `Cluster` tells its nodes. */
interface ScannedClient extends Partial<Scanner> {
  nodes?(role: 'master'): Scanner[];
}

/** Keys that the server looks at for one answer; it bounds how long it is busy with it. */
const SCAN_SIZE = 500;
/** Resources that are inspected at a time. */
const LOOKED_AT = 32;

/**
 * Every resource whose id begins with the prefix and that somebody holds or waits for: SCAN over
 * every master, then a look at each key that was found. SCAN may find a key twice, and while a
 * cluster moves slots or a hash table grows it may; so what was told is remembered for as long.
 */
export async function* listResources(
  context: RedisLockContext,
  prefix: string,
  { limit = Number.POSITIVE_INFINITY, signal }: ListCallOptions = {},
): AsyncGenerator<LockInspection, void, undefined> {
  const told = new Set<string>();
  if (limit <= 0) return;
  for await (const tags of scannedTags(context, prefix, signal)) {
    const found = tags.filter((tag) => !told.has(tag));
    for (let start = 0; start < found.length; start += LOOKED_AT) {
      const looks = found.slice(start, start + LOOKED_AT).map((tag) => look(context, tag, signal));
      for (const { resource, holders, waiters } of await Promise.all(looks)) {
        if (holders.length + waiters.length === 0 || told.has(resource)) continue;
        told.add(resource);
        yield { resource, holders, waiters };
        if (told.size >= limit) return;
      }
    }
  }
}

async function look(
  context: RedisLockContext,
  resource: string,
  signal: AbortSignal | undefined,
): Promise<LockInspection> {
  const reply = await context.calls.script(INSPECT, [keyOf(context, resource)], [], { signal });
  return parseInspection(reply, resource);
}

/** The resources' names, as one SCAN after the other finds their keys. */
async function* scannedTags(
  { calls, keys }: RedisLockContext,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<string[], void, undefined> {
  // SCAN is not a command of a key: ioredis adds no keyPrefix to its pattern and takes none off.
  const whole = keyPrefixOf(calls.client) + keys.key(prefix);
  const start = whole.slice(0, -1);
  const pattern = `${escapePattern(start)}*}`;
  const tagStart = whole.lastIndexOf('{') + 1;
  for (const scanner of scanners(calls)) {
    let cursor = '0';
    do {
      throwIfAborted(signal);
      const from = cursor;
      const scan = () => scanner.scan(from, 'MATCH', pattern, 'COUNT', SCAN_SIZE);
      const [next, found] = await calls.send('SCAN', scan, { signal });
      cursor = String(next);
      yield found.map((key) => decodeTag(String(key).slice(tagStart, -1)));
    } while (cursor !== '0');
  }
}

function scanners({ client }: RedisCalls): readonly Scanner[] {
  const scanned = client as ScannedClient;
  return client.isCluster && scanned.nodes ? scanned.nodes('master') : [scanned as Scanner];
}

function escapePattern(text: string): string {
  return text.replace(/[\\*?[\]^-]/g, '\\$&');
}
