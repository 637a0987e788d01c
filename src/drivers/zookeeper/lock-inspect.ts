import { abortable, sleep } from '../../core/abort.js';
import { isCoordinationError } from '../../core/errors.js';
import type { LockInspection, LockParty } from '../../lock/driver.js';
import { expectOk } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';
import { decodePlace, type PlaceData } from './lock-data.js';
import { firstTokenOf } from './lock-fence.js';
import type { HeldGrant } from './lock-grants.js';
import { holderCount, lineOf, type Place, withDowngraded } from './lock-line.js';
import type { NodeData } from './requests.js';

/** What looking needs. */
export interface LookContext {
  readonly connection: Connection;
  /** What this node holds itself, by grant id. */
  readonly grants: Pick<ReadonlyMap<string, HeldGrant>, 'get'>;
}

/** A place with what its znode says. */
export interface ShownPlace {
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
  context: LookContext,
  resource: string,
  directory: string,
  options: { readonly signal: AbortSignal | undefined; readonly looks?: number },
): Promise<LockInspection> {
  const { connection } = context;
  const { signal, looks = LOOKS } = options;
  const operation = `inspect ${JSON.stringify(resource)}`;
  for (let look = 1; ; look += 1) {
    const live = await connection.current(operation, { signal });
    const line = await abortable(readLine(live, directory, operation), signal).catch((error) => {
      // Reading can be done again; the next look waits for the connection.
      if (look >= LOOKS || !isUnanswered(error)) throw error;
      return undefined;
    });
    if (line === undefined) continue;
    const [head] = line.shown;
    const isComplete =
      head === undefined || head.place.mode === 'counting' || tokenOf(context, line) !== undefined;
    if (isComplete || look >= looks) return showLine(context, live, resource, line);
    await sleep(connection.clock, LOOK_AGAIN_MS, { signal });
  }
}

function isUnanswered(error: unknown): boolean {
  return (
    isCoordinationError(error, 'RESULT_UNKNOWN') ||
    isCoordinationError(error, 'BACKEND_UNAVAILABLE')
  );
}

/** The token of the head: its own, or the epoch of the readers there. */
function tokenOf({ grants }: LookContext, { shown, pzxid }: ShownLine): bigint | undefined {
  const [first] = shown;
  if (first === undefined) return undefined;
  const own = grants.get(first.place.grantId)?.grant.fencingToken;
  const known = own ?? first.data.fencingToken;
  if (known !== undefined || first.place.mode !== 'exclusive') return known;
  // When nothing came or went since its own creation, its token can only be that.
  const { czxid } = first.node.stat;
  return czxid === pzxid ? firstTokenOf(czxid) : undefined;
}

async function readLine(
  live: LiveSession,
  directory: string,
  operation: string,
): Promise<ShownLine> {
  const [, listed] = await Promise.all([live.ask.sync(directory), live.ask.children(directory)]);
  if (!listed.ok && listed.kind === 'no-node') return { shown: [], pzxid: 0 };
  const { names, stat } = expectOk(listed, operation);
  const { places } = lineOf(names, directory);
  return { shown: await showPlaces(live, directory, places, operation), pzxid: stat.pzxid };
}

/** Reads what places hold; a writer that became a reader is shown as one. */
export async function showPlaces(
  live: LiveSession,
  directory: string,
  places: readonly Place[],
  operation: string,
): Promise<readonly ShownPlace[]> {
  const nodes = await Promise.all(places.map(({ name }) => live.ask.get(`${directory}/${name}`)));
  return places.flatMap((place, index): ShownPlace[] => {
    const node = nodes[index];
    // It left between the listing and the reading.
    if (node === undefined || (!node.ok && node.kind === 'no-node')) return [];
    const value = expectOk(node, operation);
    const data = decodePlace(value.data, `${directory}/${place.name}`);
    const [shown = place] = data.isDowngraded
      ? withDowngraded([place], new Set([place.grantId]))
      : [place];
    return [{ place: shown, node: value, data }];
  });
}

async function showLine(
  context: LookContext,
  live: LiveSession,
  resource: string,
  line: ShownLine,
): Promise<LockInspection> {
  const { shown } = line;
  if (shown.length === 0) return { resource, holders: [], waiters: [] };
  const nowMs = await context.connection.serverTimeMs(live);
  const holding = holderCount(shown.map(({ place }) => place));
  const token = tokenOf(context, line);
  const parties = shown.map(({ place, data, node }, index): LockParty => {
    const { grantId, mode, permits } = place;
    const { ctime, mtime } = node.stat;
    const sinceMs =
      data.heldForMs === undefined ? ctime.getTime() : mtime.getTime() - data.heldForMs;
    const hasToken = index < holding && mode !== 'counting';
    const ageMs = Math.max(0, nowMs - sinceMs);
    const fencingToken = hasToken ? token : undefined;
    return { owner: data.owner, grantId, mode, permits, fencingToken, ageMs };
  });
  return { resource, holders: parties.slice(0, holding), waiters: parties.slice(holding) };
}
