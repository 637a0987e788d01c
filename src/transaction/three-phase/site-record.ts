import { CoordinationError } from '../../core/errors.js';
import type { DecidedBranch } from '../decision-log.js';
import {
  type CommitState,
  type DurableSite,
  type SiteState,
  siteAfterCrash,
} from './site-state.js';

/** What a site writes of a transaction, beside its id and version. */
export interface SiteRecord {
  /** The sites by name, the coordinator first; empty while it is not known who takes part. */
  readonly sites: readonly string[];
  readonly state: CommitState;
  readonly lastElected: number;
  readonly lastAttempt: number;
  /** Its own branches, with their evidence once it has voted. */
  readonly branches: readonly DecidedBranch[];
  /** When it was written first, on the wall clock of this site. Only for forgetting what nobody asks. */
  readonly sinceMs: number;
  /** Sites that an operator declared gone after the decision. Default none. */
  readonly gone?: readonly GoneSite[] | undefined;
}

/** A site that is not waited for any more: which, why, and since when on the wall clock. */
export interface GoneSite {
  readonly site: string;
  readonly reason: string;
  readonly atMs: number;
}

const FORMAT = 1;
const STATES: ReadonlySet<unknown> = new Set(['Q', 'W', 'PC', 'PA', 'C', 'A']);

/** A record as the text that a storage keeps. */
export function encodeSiteRecord(record: SiteRecord): string {
  const { sites, state, lastElected, lastAttempt, branches, sinceMs, gone } = record;
  const parts = branches.map((each) => [each.participant, each.branchId, each.evidence]);
  return JSON.stringify({
    v: FORMAT,
    s: state,
    e: lastElected,
    a: lastAttempt,
    t: sinceMs,
    sites,
    b: parts,
    g: gone?.map(({ site, reason, atMs }) => [site, reason, atMs]),
  });
}

/** Reads a record. @throws CoordinationError (UPGRADE_NEEDED, DATA_CORRUPT) */
export function decodeSiteRecord(text: string, where: string): SiteRecord {
  const found = parsed(text);
  if (typeof found?.v === 'number' && found.v > FORMAT) {
    const facts = { where, found: String(found.v), supported: String(FORMAT) };
    const message = `${where} has format ${found.v}, newer than ${FORMAT}; upgrade this process`;
    throw new CoordinationError('UPGRADE_NEEDED', message, facts);
  }
  const { s, e, a, t, sites, b, g } = found ?? {};
  const isOurs =
    STATES.has(s) &&
    [e, a, t].every(Number.isFinite) &&
    isTexts(sites) &&
    isBranches(b) &&
    isGone(g);
  if (!isOurs) {
    const facts = { where, found: text.slice(0, 80) };
    throw new CoordinationError('DATA_CORRUPT', `${where} is not a record of a site`, facts);
  }
  return {
    sites: sites as readonly string[],
    state: s as CommitState,
    lastElected: e as number,
    lastAttempt: a as number,
    sinceMs: t as number,
    branches: (b as readonly (readonly [string, string, string])[]).map(
      ([participant, branchId, evidence]) => ({ participant, branchId, evidence }),
    ),
    gone: (g as readonly (readonly [string, string, number])[] | undefined)?.map(
      ([site, reason, atMs]) => ({ site, reason, atMs }),
    ),
  };
}

/** The durable part of the machine's state. */
function durableOf(record: SiteRecord, site: string): DurableSite {
  const { sites, state, lastElected, lastAttempt } = record;
  const self = Math.max(sites.indexOf(site), 0);
  return { self, siteCount: Math.max(sites.length, 1), state, lastElected, lastAttempt };
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** What a site knows after a crash; those that are gone are not waited for again. */
export function stateAfterCrash(record: SiteRecord, site: string): SiteState {
  const state = siteAfterCrash(durableOf(record, site));
  const gone = (record.gone ?? []).map((each) => record.sites.indexOf(each.site));
  return { ...state, done: gone.filter((index) => index >= 0).toSorted((a, b) => a - b) };
}

function isGone(value: unknown): boolean {
  const isOne = (each: unknown): boolean => Array.isArray(each) && each.length === 3;
  return value === undefined || (Array.isArray(value) && value.every(isOne));
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

function isBranches(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => isTexts(each) && each.length === 3);
}
