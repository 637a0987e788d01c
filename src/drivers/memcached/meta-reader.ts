import type { TextEncoding } from '../../cache/driver.js';

/** One reply of the meta protocol. */
export interface MetaReply {
  /** `HD`, `VA`, `EN`, `NS`, `EX`, `NF`, `MN`, `VERSION`, `ERROR`, `CLIENT_ERROR`, `SERVER_ERROR`. */
  readonly status: string;
  /** What stood behind the status: the flags of a reply, or the words of an error. */
  readonly rest: string;
  /** The data of a `VA`. */
  readonly data: string | undefined;
}

/** Cuts what a server sends into replies. */
export interface MetaReader {
  /**
   * Takes the next bytes, as they came, and calls `onReply` for each reply that is complete.
   *
   * @throws Error for what is no reply; the connection is then of no use any more.
   */
  push(bytes: Buffer): void;
}

/** No reply of the server's is longer; a peer that sends more does not speak the protocol. */
const LINE_BYTES_MAX = 2_048;
/** memcached's own limit of `-I`. */
const DATA_BYTES_MAX = 1_024 * 1_024 * 1_024;
const STATUS = /^(?:[A-Z]{2}|VERSION|ERROR|CLIENT_ERROR|SERVER_ERROR)$/;
const LINE_FEED = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const ZERO = 0x30;
const VALUE = 'VA ';
const SIZE_DIGITS_MAX = 10;
const NOTHING = Buffer.alloc(0);

/** A reader at the beginning of a connection. */
export function metaReader(
  onReply: (reply: MetaReply) => void,
  encoding: TextEncoding = 'utf8',
): MetaReader {
  let pieces: Buffer[] = [];
  let pendingBytes = 0;
  /** No reply can be complete before so many bytes are there. */
  let neededBytes = 0;

  /** Reads one reply from `at`; answers where it ends, or undefined when it is not all there. */
  const readAt = (bytes: Buffer, at: number): number | undefined => {
    const feed = lineEnd(bytes, at);
    if (feed < 0) {
      if (bytes.length - at > LINE_BYTES_MAX) throw new Error('a reply has no end of line');
      neededBytes = 0;
      return undefined;
    }
    const end = bytes[feed - 1] === RETURN && feed > at ? feed - 1 : feed;
    if (isValue(bytes, at)) return readValue(bytes, { at, end, from: feed + 1 });
    const line = bytes.toString('latin1', at, end);
    const space = line.indexOf(' ');
    const status = space < 0 ? line : line.slice(0, space);
    const rest = space < 0 ? '' : line.slice(space + 1);
    if (!STATUS.test(status)) throw new Error(`a reply begins with ${JSON.stringify(status)}`);
    if (status === 'VA') throw new Error('a value has no size');
    onReply({ status, rest, data: undefined });
    return feed + 1;
  };
  /** Nearly all replies are values: their line is read byte by byte, and nothing is made of it but its flags. */
  const readValue = (
    bytes: Buffer,
    line: { readonly at: number; readonly end: number; readonly from: number },
  ): number | undefined => {
    const { at, from } = line;
    const sizeFrom = at + VALUE.length;
    let size = 0;
    let sizeEnd = sizeFrom;
    for (; sizeEnd < line.end; sizeEnd += 1) {
      const digit = (bytes[sizeEnd] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      size = size * 10 + digit;
    }
    const isNumber = sizeEnd > sizeFrom && sizeEnd - sizeFrom <= SIZE_DIGITS_MAX;
    const isWhole = sizeEnd === line.end || bytes[sizeEnd] === SPACE;
    if (!isNumber || !isWhole || size > DATA_BYTES_MAX) throw new Error('a value has no size');
    const end = from + size;
    if (bytes.length < end + 2) {
      neededBytes = end + 2 - at;
      return undefined;
    }
    if (bytes[end] !== RETURN || bytes[end + 1] !== LINE_FEED) {
      throw new Error('a value has no end');
    }
    const rest = sizeEnd < line.end ? bytes.toString('latin1', sizeEnd + 1, line.end) : '';
    const data = bytes.toString(encoding, from, end);
    onReply({ status: 'VA', rest, data });
    return end + 2;
  };

  return {
    push(bytes) {
      pieces.push(bytes);
      pendingBytes += bytes.length;
      if (pendingBytes < neededBytes) return;
      const all = pieces.length === 1 ? bytes : Buffer.concat(pieces);
      let at = 0;
      neededBytes = 0;
      while (at < all.length) {
        const next = readAt(all, at);
        if (next === undefined) break;
        at = next;
      }
      const left = at === all.length ? NOTHING : all.subarray(at);
      pieces = left.length === 0 ? [] : [left];
      pendingBytes = left.length;
    },
  };
}

/** Where the line ends that begins there, or -1. Lines are so short that a search costs more to set up. */
function lineEnd(bytes: Buffer, at: number): number {
  for (let end = at; end < bytes.length; end += 1) if (bytes[end] === LINE_FEED) return end;
  return -1;
}

function isValue(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0x56 && bytes[at + 1] === 0x41 && bytes[at + 2] === SPACE;
}

/** The value of a flag of a reply, such as `c` in `HD c12 t30`. */
export function flagOf({ rest }: MetaReply, flag: string): string | undefined {
  for (let at = 0; at < rest.length; ) {
    const space = rest.indexOf(' ', at);
    const end = space < 0 ? rest.length : space;
    if (rest.startsWith(flag, at)) return rest.slice(at + 1, end);
    at = end + 1;
  }
  return undefined;
}
