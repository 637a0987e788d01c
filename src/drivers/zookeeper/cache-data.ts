import type { CasState, NewCasState } from '../../cache/cas-tier.js';
import type { TextEncoding } from '../../cache/driver.js';
import { CoordinationError } from '../../core/errors.js';
import type { NodeData } from './requests.js';

/** What a znode of the cache holds, as it was written. */
export interface CacheRecord {
  readonly state: NewCasState;
  /** The cache's generation when it was written; a hold has none. */
  readonly generation: string;
}

const FORMAT = '1';
const KINDS = { e: 'entry', l: 'lease', h: 'hold' } as const;
const RECORD = /^1([elh]):([^:]*):(\d+):/;
/** Stands where something was removed: its version goes on, so that an old one is never met again. */
const REMOVED = `${FORMAT}-`;
/** The server takes 1 MiB, the path and the packet's head included. */
const DATA_BYTES_MAX = 1_000_000;

/** What is stored after a removal. */
export const REMOVED_DATA: Buffer = Buffer.from(REMOVED);

/**
 * The data for a record: `1‹kind›:‹generation›:‹milliseconds›:‹text or token›`.
 *
 * @throws CoordinationError BACKEND_UNSUPPORTED for more than a znode holds.
 */
export function encodeRecord(
  path: string,
  { state, generation }: CacheRecord,
  encoding: TextEncoding = 'utf8',
): Buffer {
  const text = state.kind === 'entry' ? state.text : state.token;
  const data = Buffer.from(
    `${FORMAT}${state.kind.charAt(0)}:${generation}:${Math.ceil(state.forMs)}:${text}`,
    encoding,
  );
  if (data.length <= DATA_BYTES_MAX) return data;
  const found = `${data.length} bytes for ${path}`;
  const needed = `values of at most ${DATA_BYTES_MAX} bytes: this cache is for configuration`;
  const message = `a znode cannot hold ${found}; needed are ${needed}`;
  const details = { backend: 'zookeeper', setting: 'jute.maxbuffer', found, needed };
  throw new CoordinationError('BACKEND_UNSUPPORTED', message, details);
}

/** Reads what was stored; undefined for what stands after a removal. */
export function decodeRecord(
  path: string,
  data: Buffer,
  encoding: TextEncoding = 'utf8',
): CacheRecord | undefined {
  const text = data.toString(encoding);
  if (text === REMOVED) return undefined;
  const [begin, letter, generation = '', digits] = RECORD.exec(text) ?? [];
  if (begin === undefined) throw formatError(path, text);
  const rest = text.slice(begin.length);
  const kind = KINDS[letter as keyof typeof KINDS];
  const forMs = Number(digits);
  if (kind === 'entry') return { generation, state: { kind, text: rest, forMs } };
  return { generation, state: { kind, token: rest, forMs } };
}

/** As of when, and how, a record is read. */
export interface Moment {
  readonly generation: string | undefined;
  readonly nowMs: number;
  readonly encoding?: TextEncoding | undefined;
}

/** What a record means now: `nowMs` is the leader's clock, whose time stands in the Stat. */
export function stateOf(
  path: string,
  { data, stat }: NodeData,
  { generation, nowMs, encoding }: Moment,
): CasState {
  const record = decodeRecord(path, data, encoding);
  if (record === undefined) return OUTDATED;
  const { state } = record;
  const remainingMs = stat.mtime.getTime() + state.forMs - nowMs;
  if (remainingMs <= 0) return OUTDATED;
  // A hold outlasts `clear`: its writer is about to commit.
  if (state.kind !== 'hold' && record.generation !== generation) return OUTDATED;
  if (state.kind === 'entry') return { kind: 'entry', text: state.text, remainingMs };
  return { kind: state.kind, token: state.token, remainingMs };
}

const OUTDATED: CasState = { kind: 'outdated' };

function formatError(path: string, text: string): CoordinationError {
  const version = /^\d{1,9}/.exec(text)?.[0];
  const found = text.slice(0, 80);
  if (version !== undefined && Number(version) > Number(FORMAT)) {
    const message = `${path} was written in format ${version}; this release reads up to ${FORMAT}, so upgrade it`;
    const details = { where: path, found: version, supported: FORMAT };
    return new CoordinationError('UPGRADE_NEEDED', message, details);
  }
  const message = `${path} holds ${JSON.stringify(found)}, which tricord does not write there`;
  return new CoordinationError('DATA_CORRUPT', message, { where: path, found });
}
