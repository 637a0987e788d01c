import { type ParsedTransactionId, parseTransactionId, type TransactionId } from '../core/ids.js';
import { invalidArgument } from '../core/validate.js';

/**
 * `‹transaction›.‹branch›`. A coordinator numbers its own branches with one to three digits; the
 * branches of a remote call have a letter for the call, then a character for the attempt and one for
 * the resource, so that 64 bytes are enough for every backend.
 */
const BRANCH_ID = /^(.+)\.([\w-]{1,3})$/;
const REMOTE = /^([A-Za-z])([\w-])([\w-])$/;
/** In the order in which they are given out. */
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const CHARACTERS = `0123456789${LETTERS}-_`;

/** One transaction makes so many calls. */
export const CALLS_MAX: number = LETTERS.length;
/** One call is handed out so often. */
export const ATTEMPTS_MAX: number = CHARACTERS.length - 1;
/** One call has branches in so many resources of its server. */
const LOCALS_MAX: number = CHARACTERS.length;

/** What a branch's id tells. */
export interface ParsedBranchId {
  readonly transactionId: TransactionId;
  readonly origin: ParsedTransactionId;
  /** Of a branch that a remote call made. */
  readonly remote?: RemoteBranchPlace | undefined;
}

/** Which call made a branch, and in which attempt. */
export interface RemoteBranchPlace {
  readonly callId: string;
  readonly attempt: number;
}

/** The parts of a branch's id; undefined for a text that is not one. */
export function parseBranchId(branchId: string): ParsedBranchId | undefined {
  const [, transactionId = '', suffix = ''] = BRANCH_ID.exec(branchId) ?? [];
  const origin = parseTransactionId(transactionId);
  if (origin === undefined) return undefined;
  const facts = { transactionId: transactionId as TransactionId, origin };
  const [, letter, attempt = ''] = REMOTE.exec(suffix) ?? [];
  if (letter === undefined) return facts;
  const callId = `${transactionId}.${letter}`;
  return { ...facts, remote: { callId, attempt: CHARACTERS.indexOf(attempt) } };
}

/** The id of the call with this index, counted from 0: `‹transaction›.‹letter›`. */
export function callIdOf(transactionId: TransactionId, index: number): string {
  return `${transactionId}.${LETTERS[index]}`;
}

/** The id of a branch that a call makes in its attempt (from 1) in its local resource (from 0). */
export function remoteBranchId(callId: string, attempt: number, local: number): string {
  if (local >= LOCALS_MAX) {
    throw invalidArgument('participant', local + 1, `at most ${LOCALS_MAX} resources of one call`);
  }
  return `${callId}${CHARACTERS[attempt]}${CHARACTERS[local]}`;
}
