import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import {
  backupTermination,
  quorumTermination,
} from '../../src/transaction/three-phase/termination.js';
import { explore } from '../unit/transaction/three-phase-explorer.js';
import type { World } from '../unit/transaction/three-phase-world.js';
import type { Round, RoundResult, Soak } from './soak.js';

const PARTS = ['explorations', 'storms', 'processes'] as const;
type Part = (typeof PARTS)[number];
interface Finding {
  readonly isClean: boolean;
  readonly summary: string;
  readonly output?: string;
}

const STORMS_DEFAULT = 2_000;
/** Each storm has its own seed, so that rounds with neighbouring seeds share none. */
const STORMS_MAX = 100_000;
const PROCESSES_MS = 30 * 60_000;
const STORMS_MS_EACH = 1_000;
const OUTPUT_CHARACTERS_MAX = 20_000;

const quorum = { rules: quorumTermination, ballotMax: 4 } as const;

/** What is too large for every run of the tests. */
const WORLDS: Readonly<Record<string, World>> = {
  '4 sites that vote yes, ballots up to 4': { ...quorum, siteCount: 4, isUnanimous: true },
  '3 sites, ballots up to 4, with refusals': { ...quorum, siteCount: 3, isRefusing: true },
  'an elected backup of 4 sites, 2 crashes': {
    rules: backupTermination,
    ballotMax: 4,
    siteCount: 4,
    crashes: 2,
    isCrashStop: true,
    isImpatient: false,
    isUnanimous: true,
  },
};

/**
 * Three-phase commit further than the tests go: `npm run soak -- three-phase`, with `--parts
 * explorations,storms,processes` for some of it and `--storms N`.
 */
export const soak: Soak = {
  name: 'three-phase',
  command: ({ args, seed }) =>
    `npm run soak -- ${['three-phase', ...args, '--seed', seed].join(' ')}`,

  async run({ args, seed }: Round): Promise<RoundResult> {
    const { values } = parseArgs({
      args: [...args],
      options: { parts: { type: 'string' }, storms: { type: 'string' } },
    });
    const parts = (values.parts ?? PARTS.join()).split(',').map(partOf);
    const storms = stormsOf(values.storms ?? String(STORMS_DEFAULT));
    const findings: Finding[] = [];
    for (const part of parts) {
      if (part === 'explorations') findings.push(...exploreAll());
      if (part === 'storms') findings.push(await stormy(seed, storms));
      if (part === 'processes') findings.push(await processes());
    }
    return {
      isClean: findings.every(({ isClean }) => isClean),
      summary: findings.map(({ summary }) => summary).join('; '),
      output: findings.map(({ output }) => output ?? '').join('\n'),
    };
  },
};

function partOf(name: string): Part {
  const part = PARTS.find((each) => each === name);
  if (part !== undefined) return part;
  throw new Error(`--parts ${name} is not one of: ${PARTS.join(', ')}`);
}

function stormsOf(text: string): number {
  const storms = Number(text);
  if (Number.isInteger(storms) && storms >= 1 && storms <= STORMS_MAX) return storms;
  throw new Error(`--storms ${text} is not a whole number from 1 to ${STORMS_MAX}`);
}

function exploreAll(): readonly Finding[] {
  return Object.entries(WORLDS).map(([name, world]) => {
    const found = explored(name, world);
    process.stdout.write(`${found.summary}\n`);
    return found;
  });
}

/** A world that is too large to be explored to its end says so, and counts as a violation. */
function explored(name: string, world: World): Finding {
  try {
    const { states, violation } = explore(world);
    if (violation === undefined) return { isClean: true, summary: `${name}: ${states} states` };
    const output = [name, violation.what, ...violation.trace].join('\n  ');
    return { isClean: false, summary: `${name}: ${violation.what}`, output };
  } catch (error) {
    return { isClean: false, summary: `${name}: ${String(error)}` };
  }
}

function stormy(seed: number, storms: number): Promise<Finding> {
  const first = (seed * storms) % 2 ** 31;
  const env = { THREE_PHASE_SEEDS: String(storms), THREE_PHASE_SEED: String(first) };
  const file = 'test/unit/transaction/three-phase-site.test.ts';
  const timeoutMs = 60_000 + storms * STORMS_MS_EACH;
  return tested(`storms ${first} to ${first + storms - 1}`, {
    project: 'unit',
    file,
    env,
    timeoutMs,
  });
}

function processes(): Promise<Finding> {
  const file = 'test/fault/three-phase.test.ts';
  const env = { THREE_PHASE_ALL: '1' };
  const run = { project: 'fault', file, env, timeoutMs: PROCESSES_MS };
  return tested('processes at every step', run);
}

interface TestRun {
  readonly project: string;
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

function tested(what: string, { project, file, env, timeoutMs }: TestRun): Promise<Finding> {
  const vitest = ['vitest', 'run', '--config', 'test/vitest.config.ts', '--root', '.'];
  return new Promise((resolve, reject) => {
    let output = '';
    const child = spawn('npx', [...vitest, '--project', project, file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      timeout: timeoutMs,
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
      resolve({ isClean, summary: `${what}: ${isClean ? 'clean' : ending}`, output });
    });
  });
}
