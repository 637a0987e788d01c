import { CoordinationError } from '../../core/errors.js';

/** What a place's znode holds, for people, inspection and those who wait; the name alone decides. */
export interface PlaceData {
  readonly owner: string;
  /** The first fencing token, once the holder has published it; the epoch of a reader. */
  readonly fencingToken?: bigint | undefined;
  /** How long it had been held when this was written, in milliseconds, once it is held. */
  readonly heldForMs?: number | undefined;
  /** A writer that became a reader: whoever waits for it may read beside it. */
  readonly isDowngraded?: boolean | undefined;
}

const VERSION = 1;

/** The data as it is stored: JSON with the format version `v`. */
export function encodePlace(data: PlaceData): Buffer {
  const { owner, fencingToken, heldForMs, isDowngraded } = data;
  const fence = fencingToken?.toString();
  return Buffer.from(
    JSON.stringify({ v: VERSION, owner, fence, heldForMs, mode: isDowngraded ? 's' : undefined }),
  );
}

/** Reads what {@link encodePlace} wrote; UPGRADE_NEEDED for a newer version, DATA_CORRUPT otherwise. */
export function decodePlace(data: Buffer, where: string): PlaceData {
  const { owner, fence, heldForMs, mode } = decode(data, where) ?? {};
  if (typeof owner !== 'string') throw corrupt(data, where, 'a place in line');
  return {
    owner,
    fencingToken: tokenOf(fence),
    heldForMs: typeof heldForMs === 'number' ? heldForMs : undefined,
    isDowngraded: mode === 's',
  };
}

/** The token of the readers since the last writer, as a lock's directory holds it. */
export function encodeEpoch(epoch: bigint): Buffer {
  return Buffer.from(JSON.stringify({ v: VERSION, epoch: epoch.toString() }));
}

/** Reads what {@link encodeEpoch} wrote; undefined where no reader came since the last writer. */
export function decodeEpoch(data: Buffer, where: string): bigint | undefined {
  if (data.length === 0) return undefined;
  const epoch = tokenOf(decode(data, where)?.epoch);
  if (epoch === undefined) throw corrupt(data, where, 'an epoch of readers');
  return epoch;
}

/** Why a grant was ended by force. */
export function encodeNotice(reason: string): Buffer {
  return Buffer.from(JSON.stringify({ v: VERSION, reason }));
}

/** Reads what {@link encodeNotice} wrote. */
export function decodeNotice(data: Buffer, where: string): string {
  const reason = decode(data, where)?.reason;
  if (typeof reason !== 'string') throw corrupt(data, where, 'the reason of a forced release');
  return reason;
}

function decode(data: Buffer, where: string): Record<string, unknown> | undefined {
  const stored = parsed(data);
  if (typeof stored?.v !== 'number' || stored.v <= VERSION) return stored;
  const [found, supported] = [String(stored.v), String(VERSION)];
  throw new CoordinationError(
    'UPGRADE_NEEDED',
    `${where} has format ${found}; this release reads up to ${supported}: upgrade this node`,
    { where, found, supported },
  );
}

function corrupt(data: Buffer, where: string, what: string): CoordinationError<'DATA_CORRUPT'> {
  const found = data.toString('utf8', 0, 80);
  return new CoordinationError('DATA_CORRUPT', `${where} does not hold ${what}`, { where, found });
}

function tokenOf(stored: unknown): bigint | undefined {
  return typeof stored === 'string' && /^\d+$/.test(stored) ? BigInt(stored) : undefined;
}

function parsed(data: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(data.toString('utf8'));
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
