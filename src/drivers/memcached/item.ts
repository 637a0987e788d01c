import type { Claim } from '../../cache/driver.js';
import type { Answer } from './connection.js';
import { formatError } from './errors.js';
import type { ItemKey } from './keys.js';
import { flagOf } from './meta-reader.js';

/** What stands in one item. */
export type Item =
  | { readonly kind: 'entry'; readonly text: string; readonly leftSeconds: number }
  | (Claim & { readonly leftSeconds: number })
  /** Of an earlier generation, or of another key with this digest: as good as nothing. */
  | { readonly kind: 'outdated' };

/** An item with the number by which it can be replaced if nobody changed it since. */
export interface FoundItem {
  readonly item: Item;
  readonly cas: string;
}

// An item's text is the format's version, the generation (11 characters), and then a claim's token,
// or an entry's value. Its client flags tell which: so that an empty value is no claim.
const FORMAT = '1';
const GENERATION_LENGTH = 11;
const ENTRY = 1;
const LEASE = 2;
const HOLD = 4;
/** The value stands behind ‹length of the key›`:`‹key›. */
const WITH_KEY = 8;

/** What is stored for a claim. */
export function claimPayload({ kind, token }: Claim, generation: string): Payload {
  return { flags: kind === 'lease' ? LEASE : HOLD, text: FORMAT + generation + token };
}

/** What is stored for an entry. */
export function entryPayload({ whole }: ItemKey, value: string, generation: string): Payload {
  if (whole === undefined) return { flags: ENTRY, text: FORMAT + generation + value };
  const text = `${FORMAT}${generation}${whole.length}:${whole}${value}`;
  return { flags: ENTRY | WITH_KEY, text };
}

/** The data of a store command. */
export interface Payload {
  readonly flags: number;
  readonly text: string;
}

/** Whether client flags are those of a hold. */
export function isHoldFlag(flags: string | undefined): boolean {
  return Number(flags) === HOLD;
}

/** Reads what `mg … v f c t` answered; undefined when there is nothing. */
export function foundItem(answer: Answer, key: ItemKey): FoundItem | undefined {
  const { reply } = answer;
  if (reply.status !== 'VA' || reply.data === undefined) return undefined;
  return {
    item: itemOf(answer, reply.data, key),
    cas: flagOf(reply, 'c') ?? '0',
  };
}

function itemOf({ reply, generation }: Answer, data: string, { text, whole }: ItemKey): Item {
  if (!data.startsWith(FORMAT)) throw formatError(`item ${text}`, data);
  const flags = Number(flagOf(reply, 'f'));
  const leftSeconds = secondsLeft(flagOf(reply, 't'));
  const body = data.slice(FORMAT.length + GENERATION_LENGTH);
  const isCurrent = data.startsWith(generation ?? '-', FORMAT.length) && generation !== undefined;
  // A hold outlasts `clear`: its writer is about to commit.
  if (flags === HOLD) return { kind: 'hold', token: body, leftSeconds };
  if (flags === LEASE) {
    return isCurrent ? { kind: 'lease', token: body, leftSeconds } : { kind: 'outdated' };
  }
  if ((flags & ENTRY) === 0) throw formatError(`item ${text} with flags ${flags}`, data);
  if (!isCurrent) return { kind: 'outdated' };
  if ((flags & WITH_KEY) === 0) return { kind: 'entry', text: body, leftSeconds };
  const begin = `${whole?.length}:${whole}`;
  if (whole === undefined || !body.startsWith(begin)) return { kind: 'outdated' };
  return { kind: 'entry', text: body.slice(begin.length), leftSeconds };
}

function secondsLeft(flag: string | undefined): number {
  const seconds = Number(flag ?? 0);
  return seconds < 0 ? Number.POSITIVE_INFINITY : seconds;
}
