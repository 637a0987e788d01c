import { CoordinationError } from '../../core/errors.js';

/** What a place's znode holds, for people and inspection; the name alone decides. */
export interface PlaceData {
  readonly owner: string;
  readonly capacity: number;
  /** The first fencing token, once the holder has published it. */
  readonly fencingToken?: bigint | undefined;
  /** Since when it holds, by the leader's clock in milliseconds, published with the token. */
  readonly heldSinceMs?: number | undefined;
}

const VERSION = 1;

/** The data as it is stored: JSON with the format version `v`. */
export function encodePlace({ owner, capacity, fencingToken, heldSinceMs }: PlaceData): Buffer {
  // JSON has no Infinity: the capacity of readers and writers is stored as null.
  const fence = fencingToken?.toString();
  return Buffer.from(JSON.stringify({ v: VERSION, owner, capacity, fence, heldSinceMs }));
}

/** Reads what {@link encodePlace} wrote; UPGRADE_NEEDED for a newer version, DATA_CORRUPT otherwise. */
export function decodePlace(data: Buffer, where: string): PlaceData {
  const stored = parsed(data);
  if (typeof stored?.v === 'number' && stored.v > VERSION) {
    const [found, supported] = [String(stored.v), String(VERSION)];
    throw new CoordinationError(
      'UPGRADE_NEEDED',
      `${where} has format ${found}; this release reads up to ${supported}: upgrade this node`,
      { where, found, supported },
    );
  }
  const { owner, capacity, fence, heldSinceMs } = stored ?? {};
  if (typeof owner !== 'string') {
    const found = data.toString('utf8', 0, 80);
    throw new CoordinationError('DATA_CORRUPT', `${where} does not hold a place in line`, {
      where,
      found,
    });
  }
  return {
    owner,
    capacity: typeof capacity === 'number' ? capacity : Number.POSITIVE_INFINITY,
    fencingToken: typeof fence === 'string' && /^\d+$/.test(fence) ? BigInt(fence) : undefined,
    heldSinceMs: typeof heldSinceMs === 'number' ? heldSinceMs : undefined,
  };
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
