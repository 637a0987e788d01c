import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Round, RoundResult, Soak } from './soak.js';

const START = fileURLToPath(new URL('../../examples/order-flow/start.mjs', import.meta.url));
const ROUND_TIMEOUT_MS = 5 * 60_000;
const OUTPUT_CHARACTERS_MAX = 20_000;

/** The order flow, whose audit says whether a round was clean. */
export const soak: Soak = {
  name: 'demo',
  command: ({ args, seed }) => `npm run demo -- ${[...args, '--seed', seed].join(' ')}`,

  run: ({ args, seed }: Round) =>
    new Promise<RoundResult>((resolve, reject) => {
      let output = '';
      const child = spawn(process.execPath, [START, ...args, '--seed', String(seed)], {
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout: ROUND_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk) => {
          output = (output + chunk).slice(-OUTPUT_CHARACTERS_MAX);
        });
      }
      child.once('error', reject);
      child.once('close', (code, signal) => {
        const isClean = code === 0;
        const ending = signal === null ? `exit code ${code}` : `ended by ${signal}`;
        resolve({ isClean, summary: isClean ? lastLine(output) : ending, output });
      });
    }),
};

const lastLine = (output: string): string => output.trimEnd().split('\n').at(-1)?.trim() ?? '';
