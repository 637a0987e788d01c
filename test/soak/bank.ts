import { runBank } from '../fault/bank.js';
import type { Round, RoundResult, Soak } from './soak.js';

const ROUND_MS_DEFAULT = 60_000;

/** `npm run soak -- bank --minutes 10 --seed N`: one round as long as it is told. */
export const soak: Soak = {
  name: 'bank',
  command: ({ args, seed, remainingMs }) => {
    const minutes = Number.isFinite(remainingMs) ? ['--minutes', remainingMs / 60_000] : [];
    return `npm run soak -- ${['bank', ...args, ...minutes, '--seed', seed].join(' ')}`;
  },

  async run({ seed, remainingMs }: Round): Promise<RoundResult> {
    const durationMs = Number.isFinite(remainingMs) ? remainingMs : ROUND_MS_DEFAULT;
    const result = await runBank({ seed, durationMs, workerCount: 3, killsServers: true });
    const { transferCount, told, faults, errors } = result;
    return {
      isClean: errors.length === 0,
      summary: `${transferCount} transfers, told ${JSON.stringify(told)}, ${JSON.stringify(faults)}`,
      output: errors.join('\n'),
    };
  },
};
