import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { flagOf, type MetaReply, metaReader } from '../../../src/drivers/memcached/meta-reader.js';

const text = fc.string({ unit: 'binary' });
const reply = fc.oneof(
  fc.constantFrom('HD', 'EN', 'NS', 'EX', 'NF', 'MN').map((status) => line(status)),
  fc.nat().map((cas) => line('HD', `c${cas} t-1`)),
  fc.string({ unit: 'grapheme-ascii' }).map((words) => line('SERVER_ERROR', words.trim())),
  text.map((data) => value(data, 'f1 c2')),
  fc.constantFrom('\r\n', 'EN\r\n', 'VA 3\r\n', 'HD\r\nHD\r\n', '').map((data) => value(data)),
);

function line(status: string, rest = ''): { bytes: Buffer; reply: MetaReply } {
  const bytes = Buffer.from(`${status}${rest && ` ${rest}`}\r\n`);
  return { bytes, reply: { status, rest, data: undefined } };
}

function value(data: string, rest = ''): { bytes: Buffer; reply: MetaReply } {
  const head = `VA ${Buffer.byteLength(data)}${rest && ` ${rest}`}\r\n`;
  return { bytes: Buffer.from(`${head}${data}\r\n`), reply: { status: 'VA', rest, data } };
}

/** What a reader makes of the bytes when they come in pieces. */
function read(bytes: Buffer, cuts: readonly number[]): MetaReply[] {
  const replies: MetaReply[] = [];
  const reader = metaReader((one) => replies.push(one));
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const end of [...ends, bytes.length]) {
    if (end > from) reader.push(bytes.subarray(from, end));
    from = Math.max(from, end);
  }
  return replies;
}

describe('the reader of the meta protocol', () => {
  test('replies come out as they were sent, wherever the network cuts them', () => {
    fc.assert(
      fc.property(fc.array(reply), fc.array(fc.nat(), { maxLength: 20 }), (sent, cuts) => {
        const bytes = Buffer.concat(sent.map((one) => one.bytes));
        expect(read(bytes, cuts)).toEqual(sent.map((one) => one.reply));
      }),
    );
  });

  test('it reads one byte at a time', () => {
    const bytes = Buffer.from('VA 4 f1\r\nä\r\n\r\nHD c7\r\n');
    const replies = read(bytes, Array.from(bytes.keys()));
    expect(replies).toEqual([
      { status: 'VA', rest: 'f1', data: 'ä\r\n' },
      { status: 'HD', rest: 'c7', data: undefined },
    ]);
  });

  test('any bytes at all end in replies or in an error, never in anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        try {
          read(Buffer.from(noise), []);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
          expect((error as Error).message).toMatch(/^a (reply|value) /);
        }
      }),
    );
  });

  test.each([
    ['a line without an end', Buffer.alloc(3_000, 0x41), 'no end of line'],
    ['a value without a size', Buffer.from('VA x\r\n'), 'no size'],
    ['a value that is too large', Buffer.from('VA 9999999999\r\n'), 'no size'],
    ['a value that is longer than its size', Buffer.from('VA 1\r\nabc\r\n'), 'no end'],
    ['what is no reply', Buffer.from('hello\r\n'), 'begins with "hello"'],
  ])('%s is refused', (_, bytes, message) => {
    expect(() => read(bytes, [])).toThrow(message);
  });

  test('flags are found by their letter', () => {
    const found = { status: 'HD', rest: 'f1 c23 t-1', data: undefined };
    expect(flagOf(found, 'c')).toBe('23');
    expect(flagOf(found, 't')).toBe('-1');
    expect(flagOf(found, 'k')).toBeUndefined();
  });
});
