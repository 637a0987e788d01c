import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CoordinationError } from 'tricord';
import { beforeAll, describe, test } from 'vitest';
import { ROOT } from './programs.js';
import { type SourceFacts, sourceFacts } from './source.js';

let source: SourceFacts;
beforeAll(() => {
  source = sourceFacts();
}, 120_000);

describe('docs/reference/errors.md', () => {
  const rows = rowsOf('docs/reference/errors.md');

  test('lists every error code of the source, each once, and no other', () => {
    assert.ok(source.errorCodes.length > 20);
    assert.deepEqual(rows.map(([code]) => code).sort(), [...source.errorCodes].sort());
  });

  test('says of each whether it is retryable, as the source does', () => {
    for (const [code = '', , retryable] of rows) {
      const error = new CoordinationError(code as 'CLOSED', '', { what: '' });
      assert.equal(retryable, error.retryable ? 'yes' : 'no', code);
    }
  });

  test('says of each when it comes and what to do', () => {
    for (const [code, when, , remedy] of rows) assert.ok(when && remedy, code);
  });
});

describe('docs/reference/diagnostics.md', () => {
  const rows = rowsOf('docs/reference/diagnostics.md');

  test('lists every channel of the source with its kind and payload, and no other', () => {
    assert.ok(source.channels.length > 10);
    const inSource = source.channels.map(({ name, kind, payload }) => [name, kind, payload].join());
    const inDocument = rows.map(([name, kind, payload]) => [name, kind, payload].join());
    assert.deepEqual(inDocument.sort(), inSource.sort());
  });

  test('names payload types that tricord exports', () => {
    for (const [, , payload = ''] of rows) {
      assert.ok(source.exportedNames.includes(payload), `${payload} is not exported`);
    }
  });
});

/** The cells of all tables, without headings and without the marks of code. */
function rowsOf(path: string): readonly (readonly string[])[] {
  const lines = readFileSync(join(ROOT, path), 'utf8').split('\n');
  const isRow = (line: string): boolean => line.startsWith('| `');
  const cellsOf = (line: string): string[] => line.split('|').slice(1, -1);
  return lines.filter(isRow).map((line) => cellsOf(line).map(plain));
}

const plain = (cell: string): string => cell.trim().replace(/^`([^`]*)`$/, '$1');
