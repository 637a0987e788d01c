// The cache's section of docs/reference/benchmarks.md: each bench has a place of its own between
// markers, because the benches are run one by one.

import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { markdown, type Table } from '../lock/report.js';

const PAGE = fileURLToPath(new URL('../../../docs/reference/benchmarks.md', import.meta.url));
const BEGIN = '<!-- bench:cache -->';
const END = '<!-- /bench:cache -->';
const PART = /<!-- part:(\w+) -->\n([\s\S]*?)\n<!-- \/part -->/g;

/** Puts a bench's tables in their place; the others stay. */
export async function writePart(
  id: string,
  introduction: readonly string[],
  tables: readonly Table[],
): Promise<void> {
  const page = await readFile(PAGE, 'utf8');
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  const isThere = from >= 0 && to > from;
  const present = isThere ? page.slice(from, to) : '';
  const parts = new Map(Array.from(present.matchAll(PART), ([, name, text]) => [name, text]));
  parts.set(id, tables.map(markdown).join('\n\n').trimEnd());
  const sorted = Array.from(parts).sort(([one], [other]) => numberOf(one) - numberOf(other));
  const blocks = sorted.map(([name, text]) => `<!-- part:${name} -->\n${text}\n<!-- /part -->`);
  const section = [BEGIN, '## Caches', '', ...introduction, '', blocks.join('\n\n'), END].join(
    '\n',
  );
  const whole = isThere
    ? page.slice(0, from) + section + page.slice(to + END.length)
    : `${page.trimEnd()}\n\n${section}\n`;
  await writeFile(PAGE, whole.replace(/\n{3,}/g, '\n\n'));
}

const numberOf = (id: string | undefined): number => Number(id?.slice(1));
