import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'vitest';
import { documents, ROOT } from './programs.js';

// `npm run docs` finds a link to a file that is not there, but looks at no heading behind a #.
test('links between documents lead to files, and to headings, that are there', () => {
  const pages = ['README.md', 'CONTRIBUTING.md', 'examples/README.md', ...documents()];
  const broken = pages.flatMap((page) =>
    linksIn(page)
      .filter((link) => !leadsSomewhere(page, link))
      .map((link) => `${page}: ${link}`),
  );
  assert.deepEqual(broken, []);
});

const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8');

/** Every link of a page that does not leave the repository. */
function linksIn(page: string): readonly string[] {
  const links = [...textOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  return links.filter((link) => !/^[a-z]+:/.test(link));
}

function leadsSomewhere(page: string, link: string): boolean {
  const [path = '', heading] = link.split('#');
  const target = path === '' ? page : join(dirname(page), path);
  if (!existsSync(join(ROOT, target))) return false;
  return heading === undefined || headingsOf(target).includes(heading);
}

/** The headings of a page as GitHub makes anchors of them. */
function headingsOf(page: string): readonly string[] {
  const headings = [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => text);
  return headings.map((text) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
