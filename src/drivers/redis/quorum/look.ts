import { throwIfAborted } from '../../../core/abort.js';
import { isCoordinationError } from '../../../core/errors.js';
import type {
  CallOptions,
  ListCallOptions,
  LockInspection,
  LockParty,
} from '../../../lock/driver.js';
import type { RedisClient } from '../client.js';
import { keyPrefixOf } from '../client.js';
import { unavailable, unknown } from '../errors.js';
import { encodeTag } from '../keys.js';
import { type QuorumContext, type QuorumNode, tombstoneMs } from './context.js';
import { FORCE } from './force.js';
import { type Answer, gather } from './gather.js';
import { INSPECT } from './inspect.js';
import { type NodeParty, parseForced, parseInspection } from './reply.js';
import { highestOf, majorityOf } from './rules.js';

/** How many waiters an inspection shows. */
const SHOWN_WAITERS_MAX = 1_000;

/** Puts together what the nodes know: who has a majority, and who waits on one. */
export async function inspect(
  context: QuorumContext,
  resource: string,
  { signal }: CallOptions = {},
): Promise<LockInspection> {
  const { nodes, keys } = context;
  const answers = await gather(
    nodes,
    async (one) =>
      parseInspection(
        await one.calls.script(INSPECT, [keys.key(resource)], [], { signal }),
        resource,
      ),
    (all, isAll) => (isAll || isSettled(all) ? all : undefined),
  );
  throwIfAborted(signal);
  const lists = repliesOf(answers);
  assertMajority(context, 'lock.inspect', answers, unavailable);
  const needed = Math.max(majorityOf(nodes.length) - (nodes.length - lists.length), 1);
  const known = partiesOf(lists, needed);
  const holders = known.filter(({ isHolder, number }) => isHolder && number > 0n);
  const waiters = known.filter(({ isHolder }) => !isHolder);
  waiters.sort((one, other) => Number(one.number - other.number));
  return {
    resource,
    holders: holders.map(holderOf),
    waiters: waiters.slice(0, SHOWN_WAITERS_MAX).map(waiterOf),
  };
}

/** All that answer at all have answered, or so many agree that the rest cannot change it. */
function isSettled(all: readonly (Answer<readonly NodeParty[]> | undefined)[]): boolean {
  const lists = repliesOf(all);
  if (lists.length < majorityOf(all.length)) return false;
  const texts = lists.map((list) =>
    JSON.stringify(
      list.map(({ isHolder, grantId, number }) => [isHolder, grantId, `${number}`]).sort(),
    ),
  );
  return texts.every((text) => text === texts[0]);
}

/** Each party that so many nodes know, with the highest token and the shortest time that is left. */
function partiesOf(lists: readonly (readonly NodeParty[])[], needed: number): NodeParty[] {
  const groups = new Map<string, NodeParty[]>();
  for (const party of lists.flat()) {
    const key = `${party.isHolder ? 'h' : 'w'}${party.grantId}`;
    groups.set(key, [...(groups.get(key) ?? []), party]);
  }
  return [...groups.values()]
    .filter((group) => group.length >= needed)
    .map((group) => {
      const [first] = group as [NodeParty];
      const number = highestOf(group.map((party) => party.number));
      const left = group.map(({ remainingMs }) => remainingMs).toSorted((a, b) => b - a);
      const remainingMs = left[Math.min(needed, left.length) - 1] ?? 0;
      return { ...first, number, remainingMs };
    });
}

function waiterOf({ owner, grantId, ageMs }: NodeParty): LockParty {
  return { owner, grantId, mode: 'exclusive', permits: 1, ageMs };
}

function holderOf(party: NodeParty): LockParty {
  return { ...waiterOf(party), fencingToken: party.number, remainingMs: party.remainingMs };
}

/** SCAN, as ioredis has it on a single server. */
interface ScanningClient extends RedisClient {
  scan(
    cursor: string,
    match: 'MATCH',
    pattern: string,
    count: 'COUNT',
    size: number,
  ): Promise<[cursor: string, keys: string[]]>;
}

const SCAN_SIZE = 500;

/** Every resource that somebody holds or waits for; each node is asked for its keys in turn. */
export async function* list(
  context: QuorumContext,
  prefix: string,
  { limit = Number.POSITIVE_INFINITY, signal }: ListCallOptions = {},
): AsyncIterable<LockInspection> {
  const seen = new Set<string>();
  let shown = 0;
  for (const one of context.nodes) {
    for await (const resource of resourcesOf(context, one, { prefix, signal })) {
      if (seen.has(resource)) continue;
      seen.add(resource);
      const found = await inspect(context, resource, { signal });
      if (found.holders.length + found.waiters.length === 0) continue;
      yield found;
      shown += 1;
      if (shown >= limit) return;
    }
  }
}

async function* resourcesOf(
  { keys }: QuorumContext,
  { calls }: QuorumNode,
  { prefix, signal }: { readonly prefix: string; readonly signal: AbortSignal | undefined },
): AsyncIterable<string> {
  const client = calls.client as ScanningClient;
  const opening = `${keyPrefixOf(client)}${keys.channel('')}{`;
  const pattern = `${escapeGlob(opening + (prefix === '' ? '' : encodeTag(prefix)))}*`;
  let cursor = '0';
  do {
    throwIfAborted(signal);
    const from = cursor;
    let page: [string, string[]];
    try {
      const scan = () => client.scan(from, 'MATCH', pattern, 'COUNT', SCAN_SIZE);
      page = await calls.send('SCAN', scan, { signal });
    } catch (error) {
      // A node that is down knows nothing that a majority does not know too.
      if (isCoordinationError(error) && error.code !== 'BACKEND_UNSUPPORTED') return;
      throw error;
    }
    const [next, found] = page;
    for (const key of found) {
      if (key.endsWith('}')) yield decodeURIComponent(key.slice(opening.length, -1));
    }
    cursor = String(next);
  } while (cursor !== '0');
}

function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, '\\$&');
}

/** Ends what is held on every node that can be reached; answers how many grants that were. */
export async function forceRelease(
  context: QuorumContext,
  resource: string,
  reason: string,
  { signal }: CallOptions = {},
): Promise<number> {
  const { nodes, keys } = context;
  const values = [`it was released by force: ${reason}`, tombstoneMs(0)];
  const answers = await gather(
    nodes,
    async (one) => {
      const raw = await one.calls.script(FORCE, [keys.key(resource)], values, { signal });
      return parseForced(raw, resource);
    },
    (all, isAll) => (isAll ? all : undefined),
  );
  throwIfAborted(signal);
  assertMajority(context, 'lock.force', answers, unknown);
  const victims = repliesOf(answers).flatMap((victim) => (victim?.isGranted ? [victim] : []));
  return new Set(victims.map(({ grantId }) => grantId)).size;
}

function repliesOf<Reply>(answers: readonly (Answer<Reply> | undefined)[]): Reply[] {
  return answers.flatMap((answer) => (answer?.ok ? [answer.reply] : []));
}

function assertMajority(
  { nodes }: QuorumContext,
  operation: string,
  answers: readonly (Answer<unknown> | undefined)[],
  errorOf: (operation: string, why: string, cause?: unknown) => unknown,
): void {
  const count = repliesOf(answers).length;
  if (count >= majorityOf(nodes.length)) return;
  const failed = answers.find((answer) => answer?.ok === false);
  const cause = failed?.ok === false ? failed.error : undefined;
  const isSetting = isCoordinationError(cause, 'BACKEND_UNSUPPORTED') || isFormat(cause);
  if (isSetting) throw cause;
  const why = `${count} of ${nodes.length} nodes answered, and ${majorityOf(nodes.length)} are needed`;
  throw errorOf(operation, why, cause);
}

function isFormat(cause: unknown): boolean {
  return isCoordinationError(cause, 'UPGRADE_NEEDED') || isCoordinationError(cause, 'DATA_CORRUPT');
}
