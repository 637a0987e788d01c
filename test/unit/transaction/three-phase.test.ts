import { expect, test } from 'vitest';
import {
  backupTermination,
  quorumTermination,
  type TerminationRules,
} from '../../../src/transaction/three-phase/termination.js';
import { type Exploration, explore } from './three-phase-explorer.js';
import { textbookTermination } from './three-phase-textbook.js';
import type { World } from './three-phase-world.js';

// Goal: three-phase commit with quorum termination is atomic, valid, stable and non-blocking for a
// connected majority, and every other rule in use is not. Method: every reachable state of the
// machine that ships, with every order, loss, repetition and delay of messages. The bounds here are for
// CI; `npm run soak -- three-phase` goes further.

const quorum = (world: Partial<World>): World => ({
  siteCount: 3,
  rules: quorumTermination,
  ballotMax: 3,
  ...world,
});

const holds: Record<string, World> = {
  '3 sites, ballots up to 4, 2 crashes': quorum({ ballotMax: 4, crashes: 2 }),
  '3 sites, ballots up to 3, with refusals': quorum({ isRefusing: true }),
  '4 sites that vote yes, ballots up to 3': quorum({ siteCount: 4, isUnanimous: true }),
  '4 sites, ballots up to 2, 1 crash': quorum({ siteCount: 4, ballotMax: 2, crashes: 1 }),
  '3 sites that end and forget': quorum({
    ballotMax: 2,
    isForgetting: true,
    isUnanimous: true,
    electors: [1],
  }),
};

for (const [name, world] of Object.entries(holds)) {
  test(`quorum termination holds in every state of ${name}`, () => {
    const { violation, states } = explore(world);
    expect(violation, told(violation)).toBeUndefined();
    expect(states).toBeGreaterThan(1_000);
  }, 60_000);
}

test('leaving out letters that can change nothing leaves out no state of the sites', () => {
  const world = quorum({ ballotMax: 2, isUnanimous: true });
  const whole = explore({ ...world, isKeepingDead: true });
  const reduced = explore(world);
  expect(whole.violation).toBeUndefined();
  expect(reduced.siteStates).toBe(whole.siteStates);
  expect(reduced.states).toBeLessThan(whole.states);
});

test('an elected backup holds where a crash is the only fault and is never suspected falsely', () => {
  const three = explore(synchronous({ crashes: 2, isImpatient: false }));
  expect(three.violation, told(three.violation)).toBeUndefined();
  const four = synchronous({ siteCount: 4, crashes: 1, isImpatient: false, isUnanimous: true });
  const { violation } = explore(four);
  expect(violation, told(violation)).toBeUndefined();
}, 60_000);

test('an elected backup ends mixed under a partition, without any crash', () => {
  const { violation } = explore(synchronous({ isSuspicious: true }));
  expect(violation?.what).toMatch(/mixed/);
  tell('an elected backup, and a partition', violation);
});

test('the textbook time-outs end mixed with one crash and a detector that never errs', () => {
  const rules = textbookTermination;
  const { violation } = explore(synchronous({ rules, crashes: 1, isImpatient: false }));
  expect(violation?.what).toMatch(/mixed/);
  tell('textbook time-outs, and the coordinator crashes', violation);
});

test('the textbook time-outs end mixed without any crash, after one late message', () => {
  const { violation } = explore(synchronous({ rules: textbookTermination }));
  expect(violation?.what).toMatch(/mixed/);
  tell('textbook time-outs, and a pause', violation);
});

const broken: Record<string, { readonly rules: TerminationRules; readonly siteCount: number }> = {
  'half of the sites decide': {
    siteCount: 4,
    rules: {
      ...quorumTermination,
      isEnough: (heard, { siteCount }) => heard.length >= siteCount / 2,
    },
  },
  'any pre-commit wins, however old': {
    siteCount: 3,
    rules: {
      ...quorumTermination,
      attemptOf: (reports) => (reports.some(({ state }) => state === 'PC') ? 'PC' : 'PA'),
    },
  },
  'a leader without a pre-commit in sight aborts, whatever was attempted': {
    siteCount: 3,
    rules: { ...quorumTermination, attemptOf: () => 'PA' },
  },
};

for (const [name, { rules, siteCount }] of Object.entries(broken)) {
  test(`quorum termination ends mixed when ${name}`, () => {
    const ballotMax = siteCount === 4 ? 2 : 6;
    const world = { siteCount, rules, ballotMax, isUnanimous: true, electors: [0, 1] };
    const { violation } = explore(world);
    expect(violation?.what).toMatch(/mixed/);
    tell(name, violation);
  });
}

/** Crashes are for good, and a site knows of them before it leads. */
function synchronous(world: Partial<World>): World {
  return { siteCount: 3, rules: backupTermination, ballotMax: 4, isCrashStop: true, ...world };
}

function told(violation: Exploration['violation']): string {
  return violation === undefined ? '' : [violation.what, ...violation.trace].join('\n  ');
}

/** Printed, because the documentation shows these ways. */
function tell(name: string, violation: Exploration['violation']): void {
  process.stdout.write(`${name}: ${told(violation)}\n`);
}
