import { formatError, type Noted, type Notes, notedOf, notesOf } from './codec.js';
import { UnreadableError } from './codec-error.js';
import type { Codec } from './codec-types.js';
import type { LocalValue } from './driver.js';

/**
 * The text of an entry by a codec other than the default: a line of ASCII, `[2,"codec",notes]`, and
 * behind it what the codec wrote: a text, or bytes as characters of Latin-1. The notes are those of
 * codec.ts and `"b":1` for bytes.
 */
const FORMAT = 2;
const BEGINNING = `[${FORMAT},`;
/** The id of the default, whose entries have a format of their own. */
const DEFAULT_BEGINNING = '[1,';
/** No line of ours is longer: 64 tags of 256 bytes, escaped, and their versions. */
const HEAD_LENGTH_MAX = 128 * 1_024;

interface Head extends Notes {
  readonly b?: 1;
}

/** The content of an entry, and what stands beside it. */
export interface Opened {
  readonly content: string;
  readonly noted: Noted;
}

/** Puts what a codec wrote, and what is noted of the entry, into one text. */
export function sealed({ id, form }: Codec, content: string, local: LocalValue): string {
  const head: Head = { ...notesOf(local), ...(form === 'bytes' && { b: 1 }) };
  return `${BEGINNING}"${id}",${ascii(JSON.stringify(head))}]\n${content}`;
}

/**
 * Takes an entry apart.
 *
 * @throws UnreadableError for an entry of another codec; CoordinationError UPGRADE_NEEDED for one of a
 * newer format, DATA_CORRUPT for what no cache wrote.
 */
export function opened({ id, form }: Codec, where: () => string, text: string): Opened {
  if (text.startsWith(DEFAULT_BEGINNING)) throw ofOther('json');
  const end = text.startsWith(BEGINNING) ? text.indexOf('\n') : -1;
  if (end < 0 || end > HEAD_LENGTH_MAX) throw formatError(where(), text);
  let found: string;
  let head: Head;
  try {
    [, found, head] = JSON.parse(text.slice(0, end)) as [number, string, Head];
  } catch (cause) {
    throw formatError(where(), text, cause);
  }
  if (found !== id || (head.b === 1) !== (form === 'bytes')) throw ofOther(found);
  return { content: text.slice(end + 1), noted: notedOf(head) };
}

/** The codec of an entry that the default did not write; undefined: it did, or nobody knows. */
export function otherCodecOf(text: string): string | undefined {
  return /^\[2,"([a-z0-9._+-]{1,32})",/.exec(text)?.[1];
}

/** The error for an entry of another codec. */
export function ofOther(codec: string): UnreadableError {
  return new UnreadableError({ reason: 'other-codec', codec });
}

/** So that the line is the same in UTF-8 and in Latin-1. */
function ascii(json: string): string {
  return json.replace(
    /[\u0080-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
