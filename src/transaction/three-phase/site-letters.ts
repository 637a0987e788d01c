import type { SiteMessage } from './site-message.js';

/** A message with what it is about. */
export interface SiteLetter {
  readonly transactionId: string;
  /** Every site by name, the coordinator first: whoever hears of it knows whom to ask. */
  readonly sites: readonly string[];
  readonly message: SiteMessage;
}

/** Letters of one site to another, travelling together. */
export interface SiteFrame {
  readonly from: string;
  readonly letters: readonly SiteLetter[];
}

const FORMAT = 1;
/** So many letters travel together at most. */
export const LETTERS_MAX = 64;
const SITES_MAX = 64;
const NAME = /^[\w.-]{1,64}$/;
const TYPES: Readonly<Record<SiteMessage['type'], string>> = {
  'can-commit': 'can',
  vote: 'vote',
  attempt: 'try',
  ack: 'ack',
  elect: 'elect',
  report: 'report',
  refuse: 'refuse',
  decided: 'end',
  done: 'done',
  forget: 'forget',
};

/** Whether a text may name a site. */
export function isSiteName(value: unknown): value is string {
  return typeof value === 'string' && NAME.test(value);
}

/** A frame as the text that travels. It holds ids and states, and nothing of what was worked. */
export function encodeFrame({ from, letters }: SiteFrame): string {
  const packed = letters.map(({ transactionId, sites, message }) => {
    const { type, ...facts } = message;
    return { t: transactionId, s: sites, m: TYPES[type], ...facts };
  });
  return JSON.stringify({ v: FORMAT, from, letters: packed });
}

/** Reads a frame; what is not one, or of a newer release, is as good as lost. */
export function decodeFrame(text: string): SiteFrame | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { v, from, letters } = (value ?? {}) as Record<string, unknown>;
  if (v !== FORMAT || !isSiteName(from) || !Array.isArray(letters)) return undefined;
  return { from, letters: letters.slice(0, LETTERS_MAX).flatMap(letterOf) };
}

function letterOf(value: unknown): readonly SiteLetter[] {
  const { t: transactionId, s: sites, m, ...facts } = (value ?? {}) as Record<string, unknown>;
  const areSites =
    Array.isArray(sites) &&
    sites.length <= SITES_MAX &&
    sites.every(isSiteName) &&
    sites.length > 0;
  if (typeof transactionId !== 'string' || !areSites) return [];
  const message = messageOf(m, facts);
  return message === undefined ? [] : [{ transactionId, sites, message }];
}

function messageOf(code: unknown, facts: Record<string, unknown>): SiteMessage | undefined {
  const { ballot, attempt, state, lastAttempt, decided, isYes } = facts;
  const hasBallot = typeof ballot === 'number' && Number.isSafeInteger(ballot) && ballot > 0;
  switch (code) {
    case TYPES['can-commit']:
      return { type: 'can-commit' };
    case TYPES.done:
      return { type: 'done' };
    case TYPES.forget:
      return { type: 'forget' };
    case TYPES.vote:
      return typeof isYes === 'boolean' ? { type: 'vote', isYes } : undefined;
    case TYPES.decided:
      return decided === 'C' || decided === 'A' ? { type: 'decided', decided } : undefined;
    case TYPES.elect:
      return hasBallot ? { type: 'elect', ballot } : undefined;
    case TYPES.ack:
      return hasBallot ? { type: 'ack', ballot } : undefined;
    case TYPES.refuse:
      return hasBallot ? { type: 'refuse', ballot } : undefined;
    case TYPES.attempt:
      return hasBallot && (attempt === 'PC' || attempt === 'PA')
        ? { type: 'attempt', ballot, attempt }
        : undefined;
    case TYPES.report: {
      const isKnown = state === 'W' || state === 'PC' || state === 'PA';
      const isAttempt = typeof lastAttempt === 'number' && Number.isSafeInteger(lastAttempt);
      return hasBallot && isKnown && isAttempt
        ? { type: 'report', ballot, state, lastAttempt }
        : undefined;
    }
    default:
      return undefined;
  }
}
