import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { type Clock, systemClock } from './clock.js';
import { percentEncode } from './percent.js';
import { type Random, systemRandom, TOKEN_ALPHABET } from './random.js';
import {
  assertNodeId,
  assertResourceId,
  invalidArgument,
  isName,
  NODE_ID_BYTES_MAX,
  RESOURCE_ID_BYTES_MAX,
} from './validate.js';

/** The owner of a lock as it stands in the backend. Made by {@link lockId}. */
export type LockId = string & { readonly __brand: 'LockId' };

/** The global id of a transaction. Made by {@link transactionId} and {@link newTransactionId}. */
export type TransactionId = string & { readonly __brand: 'TransactionId' };

/** The pair that an id was made from. */
export interface Identity {
  /** The resource. */
  readonly resourceId: string;
  /** The node that owns it. */
  readonly nodeId: string;
}

const ALL_PLAIN = /^[A-Za-z0-9_.:-]*$/;
const ESCAPED = /%([0-9A-F]{2})/g;

/**
 * The owner of a resource: `lockId = f(resourceId, nodeId)`, written `‹resource›@‹node›`.
 *
 * Pure and injective: no two different pairs share an id, whatever characters they hold, because
 * every byte outside `A–Z a–z 0–9 _ . : -` is percent-encoded, `@` and `%` among them.
 * {@link parseLockId} is its inverse. The *node* owns the resource; tasks of one node queue locally.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an empty, ill-formed or over-long id.
 */
export function lockId(resourceId: string, nodeId: string): LockId {
  assertResourceId(resourceId);
  assertNodeId(nodeId);
  return `${encodeText(resourceId)}@${encodeText(nodeId)}` as LockId;
}

/**
 * The pair that {@link lockId} was given.
 *
 * @throws TypeError (INVALID_ARGUMENT) for a text that {@link lockId} cannot have made.
 */
export function parseLockId(id: string): Identity {
  const parts = typeof id === 'string' ? id.split('@') : [];
  const [resourceId = '', nodeId = ''] = parts.map(decodeText);
  // Only what lockId() writes counts, else two ids would mean one pair.
  const isOurs =
    parts.length === 2 &&
    isName(resourceId, RESOURCE_ID_BYTES_MAX) &&
    isName(nodeId, NODE_ID_BYTES_MAX) &&
    lockId(resourceId, nodeId) === id;
  if (isOurs) return { resourceId, nodeId };
  throw invalidArgument('lockId', id, 'an id made by lockId()');
}

/** The text with every byte outside `A–Z a–z 0–9 _ . : -` as `%XX`. */
function encodeText(text: string): string {
  return percentEncode(text, ALL_PLAIN);
}

function decodeText(text: string): string {
  const bytes = text.replace(ESCAPED, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** What makes a transaction's id unique, and tells where its decision lives. */
export interface TransactionOrigin {
  /** Keeps the transactions of several deployments apart: 1 to 10 of `[A-Za-z0-9_-]`. */
  readonly namespace: string;
  /** Names the decision log, so that a branch found in any database leads there: 1 to 8 of the same. */
  readonly authority: string;
  /** The life of the coordinator's process that began it: 11 of the same, random. */
  readonly incarnation: string;
  /** Unique within the incarnation, time-ordered: 1 to 12 of the same. */
  readonly unique: string;
}

/** What can be read from a transaction's id alone. */
export interface ParsedTransactionId extends TransactionOrigin {
  /** Digest of the pair (resourceId, nodeId): 11 of `[A-Za-z0-9_-]`. */
  readonly digest: string;
}

/** `tc1.‹namespace›.‹authority›.‹incarnation›.‹unique›.‹digest›`: at most 60 bytes. */
const TRANSACTION_ID =
  /^tc1\.([\w-]{1,10})\.([\w-]{1,8})\.([\w-]{11})\.([\w-]{1,12})\.([\w-]{11})$/;
const ORIGIN_BOUNDS = [
  ['namespace', /^[\w-]{1,10}$/, '1 to 10'],
  ['authority', /^[\w-]{1,8}$/, '1 to 8'],
  ['incarnation', /^[\w-]{11}$/, '11'],
  ['unique', /^[\w-]{1,12}$/, '1 to 12'],
] as const;
const INCARNATION_LENGTH = 11;
const DIGEST_LENGTH = 11;

/**
 * The global id of a transaction: `transactionId = f(resourceId, nodeId)` plus what makes it unique.
 *
 * Pure: the same arguments give the same id. At most 60 bytes of `[A-Za-z0-9_.-]`, so that it fits
 * PostgreSQL's, XA's and everybody's limit, and names the namespace, the decision log and the
 * coordinator's incarnation; the pair itself enters as a digest and stands whole in the log's record.
 * With a text as `unique` the other three parts take the values of a transaction without a log.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed resource, node or part.
 */
export function transactionId(
  resourceId: string,
  nodeId: string,
  unique: string | TransactionOrigin,
): TransactionId {
  const origin =
    typeof unique === 'string'
      ? {
          namespace: 'default',
          authority: 'none',
          incarnation: '-'.repeat(INCARNATION_LENGTH),
          unique,
        }
      : unique;
  for (const [part, pattern, length] of ORIGIN_BOUNDS) {
    if (typeof origin?.[part] !== 'string' || !pattern.test(origin[part])) {
      throw invalidArgument(part, origin?.[part], `${length} characters of [A-Za-z0-9_-]`);
    }
  }
  const digest = createHash('sha256').update(lockId(resourceId, nodeId)).digest('base64url');
  const { namespace, authority, incarnation } = origin;
  const parts = ['tc1', namespace, authority, incarnation, origin.unique];
  return [...parts, digest.slice(0, DIGEST_LENGTH)].join('.') as TransactionId;
}

/** The parts of a transaction's id, or undefined for a text that is not one. */
export function parseTransactionId(id: string): ParsedTransactionId | undefined {
  const parts = TRANSACTION_ID.exec(id);
  if (parts === null) return undefined;
  const [, namespace = '', authority = '', incarnation = '', unique = '', digest = ''] = parts;
  return { namespace, authority, incarnation, unique, digest };
}

/** Makes ids of transactions of one coordinator: unique, and sorted by the time of their making. */
export type TransactionIdSource = (resourceId: string, nodeId: string) => TransactionId;

const TIME_CHARACTERS = 8;
const COUNTER_CHARACTERS = 4;
const COUNTER_MAX = 64 ** COUNTER_CHARACTERS - 1;

/**
 * A source of transaction ids for one incarnation: eight characters of wall milliseconds, then a
 * counter, so that ids of one source sort as text in the order of their making, also when the wall
 * clock goes back.
 */
export function newTransactionIds(
  origin: Omit<TransactionOrigin, 'unique'>,
  clock: Clock = systemClock,
): TransactionIdSource {
  let lastMs = 0;
  let counter = 0;
  return (resourceId, nodeId) => {
    const nowMs = Math.max(Math.floor(clock.wallMs()), lastMs);
    const spent = nowMs === lastMs && counter === COUNTER_MAX;
    counter = nowMs === lastMs && !spent ? counter + 1 : 0;
    lastMs = spent ? nowMs + 1 : nowMs;
    const unique =
      sortableText(lastMs, TIME_CHARACTERS) + sortableText(counter, COUNTER_CHARACTERS);
    return transactionId(resourceId, nodeId, { ...origin, unique });
  };
}

/**
 * A new, unique transaction id outside any coordinator. Within one, use what the coordinator makes.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed resource or node.
 */
export function newTransactionId(
  resourceId: string,
  nodeId: string,
  origin?: {
    readonly namespace?: string | undefined;
    readonly authority?: string | undefined;
  },
): TransactionId {
  const { namespace = 'default', authority = 'none' } = origin ?? {};
  return newTransactionIds({
    namespace,
    authority,
    incarnation: newIncarnation(),
  })(resourceId, nodeId);
}

/** A name for one life of one process's coordinator or lock: 66 bits of chance. */
export function newIncarnation(random: Random = systemRandom): string {
  return random.token(INCARNATION_LENGTH);
}

/** A node id made of host, process and chance, for a program that does not name itself. */
export function defaultNodeId(random: Random = systemRandom): string {
  const host = hostname()
    .replace(/[^\w.-]/g, '-')
    .slice(0, 100);
  return `${host || 'host'}-${process.pid}-${random.token(6)}`;
}

function sortableText(value: number, length: number): string {
  let rest = value;
  let text = '';
  for (let i = 0; i < length; i += 1) {
    text = (TOKEN_ALPHABET[rest % 64] ?? '-') + text;
    rest = Math.floor(rest / 64);
  }
  return text;
}
