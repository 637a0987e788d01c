import type { GrantRequest, LockInspection, LockMode, LockParty } from '../../../lock/driver.js';
import { capacityMismatchError, lockLostError } from '../../../lock/errors.js';
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
      /** Until a holder frees it unless it renews. */
      readonly holderEndsMs: number;
      /** When the server said so, by its clock. */
      readonly serverUs: number;
    }
  | { readonly state: 'busy' }
  | { readonly state: 'gone' };

const MODES: Readonly<Record<string, LockMode>> = { x: 'exclusive', s: 'shared', c: 'counting' };

/** How a mode is written in a party. */
export function modeLetter(mode: LockMode): string {
  return mode.charAt(0) === 'e' ? 'x' : mode.charAt(0);
}

/** Reads the answer to one request for a grant. Throws LOCK_CAPACITY_MISMATCH, UPGRADE_NEEDED or DATA_CORRUPT. */
export function parseContend(reply: unknown, request: GrantRequest): ContendReply {
  const { resource, mode, capacity } = request;
  const [kind, one = '', two = '', three = ''] = fields(reply);
  switch (kind) {
    case 'H':
      return heldReply(one, two, three);
    case 'Q':
      return {
        state: 'queued',
        isFirst: one === '1',
        holderEndsMs: Number(two),
        serverUs: Number(three),
      };
    case 'B':
      return { state: 'busy' };
    case 'G':
      return { state: 'gone' };
    case 'C':
      throw capacityMismatchError(resource, mode === 'counting' ? capacity : 1, Number(one));
    default:
      throw unexpected(reply, resource);
  }
}

/**
 * The answer of the shortest script: the token of a grant for the whole TTL, with nobody in line.
 * A client with `stringNumbers` tells numbers as texts; every other answer begins with a letter.
 */
export function plainToken(reply: unknown): bigint | undefined {
  if (typeof reply === 'number') return BigInt(reply);
  return typeof reply === 'string' && DIGITS.test(reply) ? BigInt(reply) : undefined;
}

const DIGITS = /^\d+$/;

/** Reads the answer to one renewal. Throws UPGRADE_NEEDED or DATA_CORRUPT. */
export function parseRenewal(
  reply: unknown,
  resource: string,
): HeldReply | { readonly state: 'lost'; readonly why?: string | undefined } {
  const text = String(reply);
  const [kind, one = '', two = '', three = ''] = text.split('|');
  if (kind === 'L') return { state: 'lost' };
  if (kind === 'F') return { state: 'lost', why: text.slice(2) };
  if (kind !== 'H') throw unexpected(reply, resource);
  return heldReply(one, two, three);
}

/** The error of a lease that somebody ended by force. */
export function forcedError(
  resource: string,
  fencingToken: bigint | undefined,
  why: string,
): Error {
  return lockLostError(resource, fencingToken, `its release was forced: ${why}`);
}

/** Reads the answer to a release: whether it was held. Throws as the others do. */
export function parseReleased(reply: unknown, resource: string): boolean {
  const found = Number(reply);
  if (found !== 0 && found !== 1) throw unexpected(reply, resource);
  return found === 1;
}

/** Reads a number, as of tokens or of grants that were ended; undefined when the grant was lost. */
export function parseNumber(reply: unknown, resource: string): bigint | undefined {
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
