import { CoordinationError } from '../../core/errors.js';
import type { CallRecord } from '../../transaction/remote/call-record.js';

const VERSION = 1;
const SHOWN_CHARACTERS = 80;

/** A call as its znode holds it; the id and the service stand in the path. */
export function encodeCall({ callId: _, service: __, ...facts }: CallRecord): Buffer {
  return Buffer.from(JSON.stringify({ v: VERSION, ...facts }));
}

/** Reads the znode of a call; UPGRADE_NEEDED for a newer format, DATA_CORRUPT for anything else. */
export function decodeCall(data: Buffer, key: Pick<CallRecord, 'callId' | 'service'>): CallRecord {
  const where = `call ${key.callId} to ${key.service}`;
  const found = data.toString().slice(0, SHOWN_CHARACTERS);
  let stored: (Partial<CallRecord> & { readonly v?: unknown }) | null;
  try {
    stored = JSON.parse(data.toString());
  } catch {
    stored = null;
  }
  const { v, ...facts } = stored ?? {};
  if (typeof v === 'number' && v > VERSION) {
    const message = `${where} has format ${v}; this release reads up to ${VERSION}, so upgrade it`;
    const details = { where, found: String(v), supported: String(VERSION) };
    throw new CoordinationError('UPGRADE_NEEDED', message, details);
  }
  if (v !== VERSION || typeof facts.writeId !== 'string') {
    const message = `${where} holds ${JSON.stringify(found)}, which tricord does not write there`;
    throw new CoordinationError('DATA_CORRUPT', message, { where, found });
  }
  const { callId, service } = key;
  return { ...(facts as CallRecord), callId, service };
}
