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
    const feed = bytes.indexOf(LINE_FEED, at);
    if (feed < 0) {
      if (bytes.length - at > LINE_BYTES_MAX) throw new Error('a reply has no end of line');
      neededBytes = 0;
      return undefined;
    }
    const line = bytes.toString('latin1', at, feed).replace(/\r$/, '');
    const space = line.indexOf(' ');
    const status = space < 0 ? line : line.slice(0, space);
    const rest = space < 0 ? '' : line.slice(space + 1);
    if (!STATUS.test(status)) throw new Error(`a reply begins with ${JSON.stringify(status)}`);
    if (status !== 'VA') {
      onReply({ status, rest, data: undefined });
      return feed + 1;
    }
    return readData(bytes, { from: feed + 1, at, rest });
  };
  const readData = (
    bytes: Buffer,
    { from, at, rest }: { readonly from: number; readonly at: number; readonly rest: string },
  ): number | undefined => {
    const size = /^\d{1,10}(?= |$)/.exec(rest)?.[0];
    if (size === undefined || Number(size) > DATA_BYTES_MAX) throw new Error('a value has no size');
    const end = from + Number(size);
    if (bytes.length < end + 2) {
      neededBytes = end + 2 - at;
      return undefined;
    }
    if (bytes[end] !== 0x0d || bytes[end + 1] !== LINE_FEED) throw new Error('a value has no end');
    const data = bytes.toString(encoding, from, end);
    onReply({ status: 'VA', rest: rest.slice(size.length + 1), data });
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

/** The value of a flag of a reply, such as `c` in `HD c12 t30`. */
export function flagOf({ rest }: MetaReply, flag: string): string | undefined {
  for (const part of rest.split(' ')) if (part.startsWith(flag)) return part.slice(1);
  return undefined;
}
