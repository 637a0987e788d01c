import type { CasState, NewCasState } from '../../cache/cas-tier.js';
import type { Answer } from './connection.js';
import { formatError } from './errors.js';
import type { ItemKey } from './keys.js';
import { flagOf } from './meta-reader.js';

/** The data of a store command. */
export interface Payload {
  readonly flags: number;
  readonly text: string;
}

// An item's text is the format's version, the generation (11 characters), and then a claim's token,
// or an entry's value. Its client flags tell which: so that an empty value is no claim.
const FORMAT = '1';
/** How many characters a generation has. */
export const GENERATION_LENGTH = 11;
/** Holds have no generation: they outlast `clear`, because their writer is about to commit. */
const NO_GENERATION = '-'.repeat(GENERATION_LENGTH);
const ENTRY = 1;
const LEASE = 2;
const HOLD = 4;
/** The value stands behind `ItemKey.whole`. */
const WITH_KEY = 8;
/** What is told of a claim in its last second. */
const LAST_MS = 250;
/** Memcached takes a larger number for a date. */
const SECONDS_MAX = 30 * 24 * 60 * 60;

/** What is stored for a state. */
export function payloadOf({ whole }: ItemKey, state: NewCasState, generation: string): Payload {
  if (state.kind !== 'entry') {
    return state.kind === 'hold'
      ? { flags: HOLD, text: FORMAT + NO_GENERATION + state.token }
      : { flags: LEASE, text: FORMAT + generation + state.token };
  }
  const begin = FORMAT + generation;
  if (whole === undefined) return { flags: ENTRY, text: begin + state.text };
  return { flags: ENTRY | WITH_KEY, text: begin + whole + state.text };
}

/** For how many seconds a state is stored: a claim must not end early, an entry not late. */
export function secondsOf({ kind, forMs }: NewCasState): number {
  // The server's clock ticks once a second, so n seconds last n - 1 to n; 0 would mean never.
  const seconds = kind === 'entry' ? Math.floor(forMs / 1_000) : Math.ceil(forMs / 1_000) + 1;
  return Math.min(Math.max(seconds, 1), SECONDS_MAX);
}

/** Whether client flags are those of a hold. */
export function isHoldFlag(flags: string | undefined): boolean {
  return Number(flags) === HOLD;
}

/** Reads what `mg … v f t` answered; undefined when there is nothing. */
export function stateOf({ reply, generation }: Answer, key: ItemKey): CasState | undefined {
  const { data } = reply;
  if (reply.status !== 'VA' || data === undefined) return undefined;
  if (!data.startsWith(FORMAT)) throw formatError(`item ${key.text}`, data);
  const flags = Number(flagOf(reply, 'f'));
  const body = data.slice(FORMAT.length + GENERATION_LENGTH);
  const remainingMs = leftMs(flagOf(reply, 't'));
  const claimMs = Math.max(remainingMs, LAST_MS);
  if (flags === HOLD) return { kind: 'hold', token: body, remainingMs: claimMs };
  if (flags !== LEASE && (flags & ENTRY) === 0) {
    throw formatError(`item ${key.text} with flags ${flags}`, data);
  }
  const isCurrent = generation !== undefined && data.startsWith(generation, FORMAT.length);
  if (!isCurrent) return { kind: 'outdated' };
  if (flags === LEASE) return { kind: 'lease', token: body, remainingMs: claimMs };
  const text = (flags & WITH_KEY) === 0 ? body : textBehindKey(body, key);
  return text === undefined ? { kind: 'outdated' } : { kind: 'entry', text, remainingMs };
}

/** Undefined when it is another key with the same digest. */
function textBehindKey(body: string, { whole }: ItemKey): string | undefined {
  return whole !== undefined && body.startsWith(whole) ? body.slice(whole.length) : undefined;
}

/** The last second has begun already. */
function leftMs(flag: string | undefined): number {
  const seconds = Number(flag ?? 0);
  return seconds < 0 ? Number.POSITIVE_INFINITY : Math.max(seconds - 1, 0) * 1_000;
}
