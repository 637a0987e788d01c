import { abortable, sleep } from '../../core/abort.js';
import type { LockInspection, LockParty } from '../../lock/driver.js';
import { expectOk } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { decodePlace, type PlaceData } from './lock-data.js';
import { firstTokenOf } from './lock-fence.js';
import type { HeldGrant } from './lock-grants.js';
import { holderCount, lineOf, type Place } from './lock-line.js';
import type { NodeData } from './requests.js';

/** A place with what its znode says. */
interface ShownPlace {
  readonly place: Place;
  readonly data: PlaceData;
  readonly node: NodeData;
}

interface ShownLine {
  readonly shown: readonly ShownPlace[];
  /** The zxid of the newest coming or going. */
  readonly pzxid: number;
}

/** A holder publishes its token shortly after its grant; looking waits this often for it. */
const LOOKS = 8;
const LOOK_AGAIN_MS = 25;

/** Who holds and who waits, read through the leader. Creates nothing. */
export async function inspectLine(
  context: { readonly connection: Connection; readonly grants: ReadonlyMap<string, HeldGrant> },
  resource: string,
  directory: string,
  signal: AbortSignal | undefined,
): Promise<LockInspection> {
  const { connection, grants } = context;
  const operation = `inspect ${JSON.stringify(resource)}`;
  const live = await connection.current(operation, { signal });
  const tokenOf = (line: ShownLine): bigint | undefined => {
    const first = line.shown[0];
    if (first === undefined || first.place.mode !== 'exclusive') return undefined;
    const own = grants.get(first.place.grantId)?.grant.fencingToken;
    // When nothing came or went since its own creation, its token can only be that.
    const { czxid } = first.node.stat;
    return (
      own ?? first.data.fencingToken ?? (czxid === line.pzxid ? firstTokenOf(czxid) : undefined)
    );
  };
  for (let look = 1; ; look += 1) {
    const line = await abortable(readLine(live, directory, operation), signal);
    const token = tokenOf(line);
    const isComplete = token !== undefined || line.shown[0]?.place.mode !== 'exclusive';
    if (isComplete || look === LOOKS) return showLine(connection, live, resource, line, token);
    await sleep(connection.clock, LOOK_AGAIN_MS, { signal });
  }
}

async function readLine(
  live: LiveSession,
  directory: string,
  operation: string,
): Promise<ShownLine> {
  const [, listed] = await Promise.all([live.ask.sync(directory), live.ask.children(directory)]);
  if (!listed.ok && listed.kind === 'no-node') return { shown: [], pzxid: 0 };
  const { names, stat } = expectOk(listed, operation);
  const places = lineOf(names, directory);
  const nodes = await Promise.all(places.map(({ name }) => live.ask.get(`${directory}/${name}`)));
  const shown = places.flatMap((place, index): ShownPlace[] => {
    const node = nodes[index];
    // It left between the listing and the reading.
    if (node === undefined || (!node.ok && node.kind === 'no-node')) return [];
    const value = expectOk(node, operation);
    const where = `${directory}/${place.name}`;
    return [{ place, node: value, data: decodePlace(value.data, where) }];
  });
  return { shown, pzxid: stat.pzxid };
}

async function showLine(
  connection: Connection,
  live: LiveSession,
  resource: string,
  { shown }: ShownLine,
  token: bigint | undefined,
): Promise<LockInspection> {
  if (shown.length === 0) return { resource, holders: [], waiters: [] };
  const nowMs = await connection.serverTimeMs(live);
  const line = shown.map(({ place }) => place);
  const holding = holderCount(line, shown[0]?.data.capacity ?? 1);
  const parties = shown.map(({ place, data, node }, index): LockParty => {
    const { grantId, mode, permits } = place;
    const sinceMs = data.heldSinceMs ?? node.stat.ctime.getTime();
    const fencingToken = index < holding && mode === 'exclusive' ? token : undefined;
    const ageMs = Math.max(0, nowMs - sinceMs);
    return { owner: data.owner, grantId, mode, permits, fencingToken, ageMs };
  });
  return { resource, holders: parties.slice(0, holding), waiters: parties.slice(holding) };
}
