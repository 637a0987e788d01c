import { CoordinationError } from '../../../core/errors.js';
import { formatError } from '../errors.js';
import type { Absence } from './rules.js';
import { FORMAT_VERSION } from './state.js';

/** The node takes no part for so long. */
export interface AwayReply extends Absence {
  readonly state: 'away';
  readonly leftMs: number;
}

/** The node's vote is not to be had now. */
export interface BusyReply {
  readonly state: 'busy';
  /** Whose vote it is; empty for nobody's, when others are first in line. */
  readonly holder: string;
  /** Whether that one holds a grant, as far as this node knows. */
  readonly isGranted: boolean;
  /** For how long, unless it renews. */
  readonly blockedMs: number;
  readonly aheadCount: number;
  readonly nowMicros: bigint;
}

/** The answer to a vote, or to standing in line. */
export type ContendReply =
  | {
      readonly state: 'yes';
      readonly proposal: bigint;
      readonly nowMicros: bigint;
      readonly runId: string;
    }
  | BusyReply
  | { readonly state: 'gone' }
  | { readonly state: 'over' }
  | AwayReply;

/** Reads the answer to a vote. Throws BACKEND_UNSUPPORTED, UPGRADE_NEEDED or DATA_CORRUPT. */
export function parseContend(raw: unknown, resource: string): ContendReply {
  const [kind, one = '', two = '', three = '', four = '', five = ''] = fields(raw);
  switch (kind) {
    case 'Y':
      return { state: 'yes', proposal: BigInt(one), nowMicros: BigInt(two), runId: three };
    case 'B':
      return {
        state: 'busy',
        holder: one,
        isGranted: two !== '0',
        blockedMs: Number(three),
        aheadCount: Number(four),
        nowMicros: BigInt(five),
      };
    case 'G':
      return { state: 'gone' };
    case 'D':
      return { state: 'over' };
    default:
      return parseAway(raw, resource);
  }
}

/** The answer to a write-back or a renewal. */
export type HoldReply =
  | { readonly state: 'held'; readonly waiters: number }
  | { readonly state: 'lost'; readonly reason: string }
  | AwayReply;

/** Reads the answer to a write-back or a renewal. Throws as parseContend does. */
export function parseHold(raw: unknown, resource: string): HoldReply {
  const [kind, one = ''] = fields(raw);
  if (kind === 'W' || kind === 'H') return { state: 'held', waiters: Number(one) };
  if (kind === 'L') return { state: 'lost', reason: String(raw).slice(2) };
  return parseAway(raw, resource);
}

/** Reads a reply that says one of two words; true for the first. */
export function parseWord(raw: unknown, yes: string, no: string, resource: string): boolean {
  if (raw !== yes && raw !== no) throw unexpected(raw, resource);
  return raw === yes;
}

/** Whom a forced release ended on a node. */
export interface Victim {
  readonly grantId: string;
  readonly isGranted: boolean;
}

/** Reads the answer to a forced release. */
export function parseForced(raw: unknown, resource: string): Victim | undefined {
  const [kind, grantId = '', token = ''] = fields(raw);
  if (kind === 'N') return undefined;
  if (kind !== 'F') throw unexpected(raw, resource);
  return { grantId, isGranted: token !== '0' };
}

/** A holder or waiter as one node knows it. */
export interface NodeParty {
  readonly isHolder: boolean;
  readonly grantId: string;
  /** Of a holder its token, 0 for a vote alone; of a waiter its ticket. */
  readonly number: bigint;
  readonly ageMs: number;
  readonly remainingMs: number;
  readonly owner: string;
}

/** Reads what one node knows of a resource. */
export function parseInspection(raw: unknown, resource: string): readonly NodeParty[] {
  const [first, ...lines] = Array.isArray(raw) ? raw.map(String) : [];
  if (first !== 'ok') throw unexpected(first, resource);
  return lines.map((line) => {
    const [kind, grantId = '', number = '0', age, left, ...owner] = line.split(',');
    return {
      isHolder: kind === 'h',
      grantId,
      number: BigInt(number),
      ageMs: Number(age),
      remainingMs: Number(left),
      owner: owner.join(','),
    };
  });
}

const KINDS: Readonly<Record<string, Absence['kind']>> = { f: 'blank', r: 'ready' };

function parseAway(raw: unknown, resource: string): AwayReply {
  const [kind, left = '', state = '', nonce = ''] = fields(raw);
  if (kind === 'X') throw tooOld(left);
  if (kind !== 'O') throw unexpected(raw, resource);
  return { state: 'away', leftMs: Number(left), kind: KINDS[state] ?? 'back', nonce };
}

function tooOld(found: string): unknown {
  return new CoordinationError(
    'BACKEND_UNSUPPORTED',
    `the quorum lock needs Redis 6.2 or newer; this node is ${found}, so upgrade it`,
    { backend: 'redis', setting: 'redis_version', found, needed: '6.2' },
  );
}

function fields(raw: unknown): string[] {
  return String(raw).split('|');
}

function unexpected(raw: unknown, resource: string): unknown {
  const found = String(raw).replace(/^V\|/, '');
  return formatError(`the quorum lock ${JSON.stringify(resource)}`, found, FORMAT_VERSION);
}
