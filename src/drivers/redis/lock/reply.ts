import { CoordinationError } from '../../../core/errors.js';
import type { LockInspection, LockMode, LockParty } from '../../../lock/driver.js';
import { formatError } from '../errors.js';
import { FORMAT_VERSION } from './state.js';

/** A grant as the server sees it. */
export interface HeldReply {
  readonly state: 'held';
  readonly fence: bigint;
  readonly remainingMs: number;
  readonly waiters: number;
}

/** The answer to an acquire or a heartbeat. */
export type ContendReply =
  | HeldReply
  | {
      readonly state: 'queued';
      readonly isFirst: boolean;
      /** Until a holder ends unless it renews. */
      readonly holderEndsMs: number;
    }
  | { readonly state: 'busy' }
  | { readonly state: 'gone' };

const MODES: Readonly<Record<string, LockMode>> = { x: 'exclusive', s: 'shared', c: 'counting' };

/** How a mode is written in a party. */
export function modeLetter(mode: LockMode): string {
  return mode.charAt(0) === 'e' ? 'x' : mode.charAt(0);
}

/** Reads the answer to one request for a grant. Throws UPGRADE_NEEDED or DATA_CORRUPT. */
export function parseContend(reply: unknown, resource: string, capacity: number): ContendReply {
  const [kind, one = '', two = '', three = ''] = fields(reply);
  switch (kind) {
    case 'H':
      return heldReply(one, two, three);
    case 'Q':
      return { state: 'queued', isFirst: one === '1', holderEndsMs: Number(two) };
    case 'B':
      return { state: 'busy' };
    case 'G':
      return { state: 'gone' };
    case 'C':
      throw capacityMismatch(resource, capacity, Number(one));
    default:
      throw unexpected(reply, resource);
  }
}

/** Reads the answer to one renewal. Throws UPGRADE_NEEDED or DATA_CORRUPT. */
export function parseRenewal(reply: unknown, resource: string): HeldReply | undefined {
  const [kind, one = '', two = '', three = ''] = fields(reply);
  if (kind === 'L') return undefined;
  if (kind !== 'H') throw unexpected(reply, resource);
  return heldReply(one, two, three);
}

/** Reads a reply that says one of two words; true for the first. Throws as the others do. */
export function parseWord(reply: unknown, yes: string, no: string, resource: string): boolean {
  if (reply !== yes && reply !== no) throw unexpected(reply, resource);
  return reply === yes;
}

/** Reads the first token of a further block; undefined when the grant was lost. */
export function parseReserved(reply: unknown, resource: string): bigint | undefined {
  const [kind, first = ''] = fields(reply);
  if (kind === 'L') return undefined;
  if (kind !== 'T') throw unexpected(reply, resource);
  return BigInt(first);
}

/** Reads an inspection. */
export function parseInspection(reply: unknown, resource: string): LockInspection {
  const [first, ...lines] = Array.isArray(reply) ? reply.map(String) : [];
  if (first !== 'ok') throw unexpected(first, resource);
  const parties = (kind: string): LockParty[] =>
    lines.filter((line) => line.startsWith(kind)).map(parseParty);
  return { resource, holders: parties('h'), waiters: parties('w') };
}

function parseParty(line: string): LockParty {
  const [kind, grantId = '', letter = '', permits, fence = '0', age, left, owner = ''] =
    line.split(',');
  const party = {
    owner,
    grantId,
    mode: MODES[letter] ?? 'exclusive',
    permits: Number(permits),
    ageMs: Number(age),
  };
  if (kind === 'w') return party;
  const fencingToken = letter === 'c' ? undefined : BigInt(fence);
  return { ...party, fencingToken, remainingMs: Number(left) };
}

function fields(reply: unknown): string[] {
  return String(reply).split('|');
}

function heldReply(fence: string, left: string, waiters: string): HeldReply {
  return {
    state: 'held',
    fence: BigInt(fence),
    remainingMs: Number(left),
    waiters: Number(waiters),
  };
}

function unexpected(reply: unknown, resource: string): unknown {
  const found = String(reply).replace(/^V\|/, '');
  return formatError(`the lock ${JSON.stringify(resource)}`, found, FORMAT_VERSION);
}

function capacityMismatch(resource: string, requested: number, current: number): unknown {
  return new CoordinationError(
    'LOCK_CAPACITY_MISMATCH',
    `"${resource}" is held with capacity ${current}, not ${requested}; ask with the same capacity everywhere`,
    { resource, requested, current },
  );
}
