import type { NewsEvent, ToldChange } from './cache-news.js';

/** What publishers say; see cache-news.ts. */
export type PublishedNews = Extract<NewsEvent, { readonly publisher: string }>;

// A message is a text, `[1,"‹publisher›","‹kind›",‹number or floor›]`, of a change with what it is of
// and the names: `[1,"…","change",7,"keys",["sku:42"]]`. Its first number is the format's version.

/** A message as it is published. */
export function newsText(news: PublishedNews): string {
  const { kind, publisher } = news;
  if (news.kind !== 'change') return JSON.stringify([1, publisher, kind, news.floor]);
  const { told, number } = news;
  const names = told.of === 'all' ? [] : told.names;
  return JSON.stringify([1, publisher, kind, number, told.of, names]);
}

/** What was published; undefined for what is no message of this format. */
export function newsOfText(text: string): PublishedNews | undefined {
  const parts = partsOf(text);
  const [version, publisher, kind, count, of, names] = parts;
  if (version !== 1 || typeof publisher !== 'string' || !isCount(count)) return undefined;
  if (kind === 'beat' || kind === 'bye') return { kind, publisher, floor: count };
  const told = kind === 'change' ? toldOf(of, names) : undefined;
  return told && { kind: 'change', publisher, number: count, told };
}

function toldOf(of: unknown, names: unknown): ToldChange | undefined {
  if (of === 'all') return { of };
  if ((of !== 'keys' && of !== 'tags') || !Array.isArray(names)) return undefined;
  return names.every((name) => typeof name === 'string') ? { of, names } : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function partsOf(text: string): readonly unknown[] {
  try {
    const parts: unknown = JSON.parse(text);
    return Array.isArray(parts) ? parts : [];
  } catch {
    return [];
  }
}
