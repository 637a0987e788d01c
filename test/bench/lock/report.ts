// Tables for the terminal and for docs/reference/benchmarks.md, where each domain has a section
// between two markers that its bench writes.

import { readFile, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../../../docs/reference/benchmarks.md', import.meta.url));

/** A part of a section, between its markers. */
const PART = /<!-- part:(\S+) -->\n([\s\S]*?)<!-- \/part -->/g;

/** One bench's outcome. */
export interface Table {
  readonly title: string;
  /** What was done, in a sentence or two. */
  readonly method: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** What a reader should take from it, or must know. */
  readonly notes?: readonly string[] | undefined;
}

export const ms = (value: number): string =>
  Number.isNaN(value) ? '–' : `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;
export const us = (value: number): string => `${value.toFixed(0)} µs`;
export const rate = (value: number): string =>
  Number.isNaN(value) ? '–' : `${Math.round(value)}/s`;
export const ratio = (value: number): string =>
  Number.isNaN(value) ? '–' : `${value.toFixed(value < 10 ? 2 : 0)} ×`;
export const percent = (value: number): string => `±${(50 * value).toFixed(0)} %`;

/** For people at a terminal. */
export function printed({ title, columns, rows, notes = [] }: Table): string {
  const all = [columns, ...rows];
  const widths = columns.map((_, column) =>
    Math.max(...all.map((row) => (row[column] ?? '').length)),
  );
  const lines = all.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '),
  );
  return ['', title, ...lines.map((line) => `  ${line}`), ...notes.map((note) => `  ${note}`)].join(
    '\n',
  );
}

export function markdown({ title, method, columns, rows, notes = [] }: Table): string {
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const head = [row(columns), row(columns.map(() => '---'))];
  const remarks = notes.map((note) => `- ${note}`);
  return [`### ${title}`, '', method, '', ...head, ...rows.map(row), '', ...remarks].join('\n');
}

/** The machine, in a line. */
export function machine(): string {
  const [cpu] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, ${memory}, ${process.platform}, Node ${process.version}`;
}

/**
 * Puts tables into the section of a domain that is measured in parts: each replaces its own part, the
 * others stay. `order` names all parts, as they are to stand on the page.
 */
export async function writeParts(
  { domain, heading }: { readonly domain: string; readonly heading: string },
  introduction: readonly string[],
  order: readonly string[],
  measured: ReadonlyMap<string, Table>,
): Promise<void> {
  const page = await readFile(PAGE, 'utf8');
  const kept = new Map(
    Array.from(page.matchAll(PART), ([, name = '', text = '']) => [name, text.trim()]),
  );
  for (const [part, table] of measured) kept.set(`${domain}.${part}`, markdown(table));
  const parts = order.flatMap((part) => {
    const text = kept.get(`${domain}.${part}`);
    return text === undefined ? [] : [`<!-- part:${domain}.${part} -->\n${text}\n<!-- /part -->\n`];
  });
  await putSection(domain, [`## ${heading}`, '', ...introduction, '', ...parts]);
}

/** In place of what stood between the section's markers. */
async function putSection(domain: string, lines: readonly string[]): Promise<void> {
  const [begin, end] = [`<!-- bench:${domain} -->`, `<!-- /bench:${domain} -->`];
  const section = `${[begin, ...lines].join('\n').trimEnd()}\n${end}`;
  const page = await readFile(PAGE, 'utf8');
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  const whole =
    from < 0 || to < 0
      ? `${page.trimEnd()}\n\n${section}\n`
      : `${page.slice(0, from)}${section}${page.slice(to + end.length)}`;
  await writeFile(PAGE, whole.replace(/\n{3,}/g, '\n\n'));
}
