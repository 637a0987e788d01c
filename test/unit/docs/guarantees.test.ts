import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { ROOT } from './programs.js';

const PAGE = readFileSync(join(ROOT, 'docs/explanation/guarantees.md'), 'utf8');
const CLAIMS = PAGE.split('\n').filter((line) => line.startsWith('- '));
const CITATION = /`((?:src\/testing|test)\/[\w/.-]+\.ts)`: “([^”]+)”/g;

describe('docs/explanation/guarantees.md', () => {
  test('names a test for every claim, or says that there is none', () => {
    assert.ok(CLAIMS.length > 30);
    const bare = CLAIMS.filter((claim) => !/`: “/.test(claim) && !/no test here/i.test(claim));
    assert.deepEqual(bare, []);
  });

  test('names tests that exist', () => {
    const cited = [...PAGE.matchAll(CITATION)];
    assert.equal(cited.length, PAGE.split('”').length - 1, 'every quotation has its file');
    for (const [, path = '', name = ''] of cited) {
      assert.ok(existsSync(join(ROOT, path)), `${path} does not exist`);
      assert.ok(hasTest(readFileSync(join(ROOT, path), 'utf8'), name), `${path} has no “${name}”`);
    }
  });
});

/** Whether a text begins a string with the name, which ends there or goes on with a value. */
function hasTest(source: string, name: string): boolean {
  const quotes = ["'", '"', '`'];
  const ends = ["'", '"', '`', '${', ' (${'];
  return quotes.some((quote) => ends.some((end) => source.includes(`${quote}${name}${end}`)));
}
