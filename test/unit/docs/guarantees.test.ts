import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { ROOT } from './programs.js';

const PAGES = [
  { file: 'docs/explanation/guarantees.md', claimsMin: 30 },
  { file: 'docs/explanation/lock-guarantees.md', claimsMin: 15 },
];
const CITATION = /`((?:src\/testing|test)\/[\w/.-]+\.ts)`: “([^”]+)”/g;

describe.each(PAGES)('$file', ({ file, claimsMin }) => {
  const page = readFileSync(join(ROOT, file), 'utf8');
  const claims = page.split('\n').filter((line) => line.startsWith('- '));

  test('names a test for every claim, or says that there is none', () => {
    assert.ok(claims.length > claimsMin);
    const bare = claims.filter((claim) => !/`: “/.test(claim) && !/no test here/i.test(claim));
    assert.deepEqual(bare, []);
  });

  test('names tests that exist', () => {
    const cited = [...page.matchAll(CITATION)];
    assert.equal(cited.length, page.split('”').length - 1, 'every quotation has its file');
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
