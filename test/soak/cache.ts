import { parseArgs } from 'node:util';
import type { CacheHistoryViolation } from '../../src/testing.js';
import type { CacheNemesisDriver } from './cache-drivers.js';
import { type CacheNemesisResult, runCacheNemesis } from './cache-nemesis.js';
import type { Round, RoundResult, Soak } from './soak.js';

const DRIVERS: readonly CacheNemesisDriver[] = ['redis', 'redis-strict', 'memcached', 'zookeeper'];
const ROUND_MS_DEFAULT = 60_000;
const VIOLATIONS_SHOWN = 20;

/** `npm run soak -- cache --drivers redis --minutes 10 --seed N`: one round as long as it is told. */
export const soak: Soak = {
  name: 'cache',
  command: ({ args, seed, remainingMs }) => {
    const minutes = Number.isFinite(remainingMs) ? ['--minutes', remainingMs / 60_000] : [];
    return `npm run soak -- ${['cache', ...args, ...minutes, '--seed', seed].join(' ')}`;
  },

  async run({ args, seed, remainingMs }: Round): Promise<RoundResult> {
    const { values } = parseArgs({
      args: [...args],
      options: { drivers: { type: 'string' }, processes: { type: 'string' } },
    });
    const drivers = (values.drivers ?? 'redis').split(',').map(driverOf);
    const totalMs = Number.isFinite(remainingMs) ? remainingMs : ROUND_MS_DEFAULT;
    const processCount = Number(values.processes ?? 4);
    const results: CacheNemesisResult[] = [];
    for (const driver of drivers) {
      const durationMs = totalMs / drivers.length;
      results.push(await runCacheNemesis({ driver, seed, durationMs, processCount }));
    }
    return {
      isClean: results.every(
        ({ violations, failures }) => violations.length + failures.length === 0,
      ),
      summary: results.map(summaryOf).join('; '),
      output: results.map(outputOf).join('\n'),
    };
  },
};

function driverOf(name: string): CacheNemesisDriver {
  const driver = DRIVERS.find((each) => each === name);
  if (driver === undefined)
    throw new Error(`--drivers ${name} is not one of: ${DRIVERS.join(', ')}`);
  return driver;
}

function summaryOf(result: CacheNemesisResult): string {
  const { backend, readCount, answerCount, writeCount, acknowledgedCount, file } = result;
  const faults = Object.entries(result.faults)
    .sort()
    .map(([name, count]) => `${name} ${count}`);
  const total = Object.values(result.faults).reduce((sum, count) => sum + count, 0);
  return (
    `${backend}: ${readCount} reads, ${answerCount} with a value, ${writeCount} writes, ` +
    `${acknowledgedCount} acknowledged, ${total} faults (${faults.join(', ')}), ` +
    `${result.violations.length} violations, ${result.failures.length} failures; history ${file}`
  );
}

function outputOf({ violations, failures }: CacheNemesisResult): string {
  return [...failures, ...violations.slice(0, VIOLATIONS_SHOWN).map(cacheViolationText)].join('\n');
}

/** A violation with its events, for whoever looks for the reason. */
export function cacheViolationText({ rule, message, events }: CacheHistoryViolation): string {
  return [`${rule}: ${message}`, ...events.map((event) => `  ${JSON.stringify(event)}`)].join('\n');
}
