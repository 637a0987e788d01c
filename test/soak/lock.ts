import { parseArgs } from 'node:util';
import type { HistoryViolation } from '../../src/testing.js';
import type { NemesisDriver } from './lock-drivers.js';
import { type NemesisResult, runNemesis } from './lock-nemesis.js';
import type { Round, RoundResult, Soak } from './soak.js';

const DRIVERS: readonly NemesisDriver[] = ['redis', 'zookeeper', 'quorum'];
const ROUND_MS_DEFAULT = 60_000;
const VIOLATIONS_SHOWN = 20;

/** `npm run soak -- lock --drivers redis --minutes 10 --seed N`: one round as long as it is told. */
export const soak: Soak = {
  name: 'lock',
  command: ({ args, seed, remainingMs }) => {
    const minutes = Number.isFinite(remainingMs) ? ['--minutes', remainingMs / 60_000] : [];
    return `npm run soak -- ${['lock', ...args, ...minutes, '--seed', seed].join(' ')}`;
  },

  async run({ args, seed, remainingMs }: Round): Promise<RoundResult> {
    const { values } = parseArgs({
      args: [...args],
      options: { drivers: { type: 'string' }, processes: { type: 'string' } },
    });
    const drivers = (values.drivers ?? 'redis').split(',').map(driverOf);
    const totalMs = Number.isFinite(remainingMs) ? remainingMs : ROUND_MS_DEFAULT;
    const processCount = Number(values.processes ?? 4);
    const results: NemesisResult[] = [];
    for (const driver of drivers) {
      const durationMs = totalMs / drivers.length;
      results.push(await runNemesis({ driver, seed, durationMs, processCount }));
    }
    const isClean = results.every(
      ({ violations, failures }) => violations.length + failures.length === 0,
    );
    return {
      isClean,
      summary: results.map(summaryOf).join('; '),
      output: results.map(outputOf).join('\n'),
    };
  },
};

function driverOf(name: string): NemesisDriver {
  const driver = DRIVERS.find((each) => each === name);
  if (driver === undefined)
    throw new Error(`--drivers ${name} is not one of: ${DRIVERS.join(', ')}`);
  return driver;
}

function summaryOf(result: NemesisResult): string {
  const { backend, requestCount, grantCount, eventCount, violations, failures, file } = result;
  const faults = Object.entries(result.faults)
    .sort()
    .map(([name, count]) => `${name} ${count}`);
  const total = Object.values(result.faults).reduce((sum, count) => sum + count, 0);
  return (
    `${backend}: ${requestCount} requests, ${grantCount} grants, ${eventCount} events, ` +
    `${total} faults (${faults.join(', ')}), ${violations.length} violations, ` +
    `${failures.length} failures; history ${file}`
  );
}

function outputOf({ violations, failures }: NemesisResult): string {
  return [...failures, ...violations.slice(0, VIOLATIONS_SHOWN).map(violationText)].join('\n');
}

/** A violation with its events, for whoever looks for the reason. */
export function violationText({ rule, message, events }: HistoryViolation): string {
  return [`${rule}: ${message}`, ...events.map((event) => `  ${JSON.stringify(event)}`)].join('\n');
}
