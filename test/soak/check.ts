import {
  checkCacheHistory,
  checkHistory,
  readCacheHistory,
  readHistory,
} from '../../src/testing.js';
import { cacheViolationText } from './cache.js';
import { violationText } from './lock.js';
import { NEMESIS_RULES } from './lock-nemesis.js';
import type { Soak } from './soak.js';

const VIOLATIONS_SHOWN = 50;

/** `npm run soak -- check ‹file›`: judges a history that was written before. */
export const soak: Soak = {
  name: 'check',
  command: ({ args }) => `npm run soak -- check ${args.join(' ')}`,
  async run({ args }) {
    const [file] = args;
    if (file === undefined) throw new Error('npm run soak -- check ‹file›: no file was named');
    const events = await readHistory(file);
    // A history of caches has reads, and one of locks has none.
    const isOfCaches = events.some(({ event }) => String(event) === 'read');
    const violations = isOfCaches
      ? checkCacheHistory(await readCacheHistory(file)).map(cacheViolationText)
      : checkHistory(events, NEMESIS_RULES).map(violationText);
    return {
      isClean: violations.length === 0,
      summary: `${file}: ${events.length} events, ${violations.length} violations`,
      output: violations.slice(0, VIOLATIONS_SHOWN).join('\n'),
    };
  },
};
