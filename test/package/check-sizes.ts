import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { ENTRIES } from './entries.js';
import { closureOf } from './modules.js';

/**
 * No entry point, with everything that it loads, is heavier than its budget. Counted here, because
 * size-limit's file plugin would weigh the entry without the chunks that it shares with others.
 */
export async function checkSizes(dist: string): Promise<string> {
  const sizes: string[] = [];
  for (const { name, file, budget } of ENTRIES) {
    const modules = await closureOf(join(dist, `${file}.js`));
    const texts = await Promise.all(modules.map((module) => readFile(module.path)));
    const size = texts.reduce((sum, text) => sum + brotliCompressSync(text).length, 0);
    if (size > budget) throw new Error(`${name} weighs ${size} bytes; its budget is ${budget}`);
    sizes.push(`${name} ${(size / 1_000).toFixed(1)} of ${(budget / 1_000).toFixed(0)} kB`);
  }
  return sizes.join(', ');
}
