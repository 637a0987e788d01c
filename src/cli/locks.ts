import { systemClock } from '../core/clock.js';
import { parseLockId } from '../core/ids.js';
import { systemRandom } from '../core/random.js';
import type { LockDriver, LockInspection, LockParty } from '../lock/driver.js';
import { lockNode } from '../lock/node.js';
import { withTimeout } from './bounds.js';
import { ageText, counted, plainTable } from './report.js';

/** Options of the list. */
export interface LockListing {
  readonly prefix: string;
  readonly limit: number;
}

/** Every resource that somebody holds or waits for. */
export async function listLocks(
  driver: LockDriver,
  { prefix, limit }: LockListing,
): Promise<readonly LockInspection[]> {
  const node = lockNode({ nodeId: 'tricord-locks', clock: systemClock, random: systemRandom });
  const backend = driver.open(node);
  const found: LockInspection[] = [];
  try {
    await withTimeout(driver.backend, async (signal) => {
      for await (const each of backend.list(prefix, { limit, signal })) found.push(each);
    });
  } finally {
    await backend.close();
  }
  return found.sort((one, other) => (one.resource < other.resource ? -1 : 1));
}

/** A row a holder and a row a waiter, in the order of the line. */
export function locksText(resources: readonly LockInspection[]): string {
  if (resources.length === 0) return 'no lock is held\n';
  const rows = resources.flatMap(({ resource, holders, waiters }) => [
    ...holders.map((party) => rowOf(resource, 'holds', party)),
    ...waiters.map((party, index) => rowOf(resource, `waits, ${index + 1}.`, party)),
  ]);
  const head = ['resource', 'node', '', 'mode', 'token', 'for', 'time left'];
  return `${plainTable(head, rows)}\n${counted(resources.length, 'resource', 's')}\n`;
}

function rowOf(resource: string, what: string, party: LockParty): readonly string[] {
  const { mode, permits, fencingToken, ageMs, remainingMs } = party;
  const how = permits > 1 ? `${mode}, ${permits} permits` : mode;
  const token = fencingToken === undefined ? '–' : String(fencingToken);
  return [resource, nodeOf(party), what, how, token, ageText(ageMs), ageText(remainingMs)];
}

function nodeOf({ owner }: LockParty): string {
  try {
    return parseLockId(owner).nodeId;
  } catch {
    return owner;
  }
}

/** For `--json`: tokens are too large for numbers. */
export function locksJson(resources: readonly LockInspection[]): string {
  const text = (_: string, value: unknown): unknown =>
    typeof value === 'bigint' ? value.toString() : value;
  return `${JSON.stringify(resources, text, 2)}\n`;
}
