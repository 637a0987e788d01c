// Goal: the rules of the quorum lock are right, and each of them is needed. Method: every reachable
// state of small systems is visited; then one rule is broken at a time, and must be missed.

import { expect, test } from 'vitest';
import { explore } from './redis/explore.js';
import { admissionModel } from './redis-quorum-admission.js';
import { DESIGN, type QuorumRules, quorumModel } from './redis-quorum-model.js';

const RESTART = { restarts: 1 } as const;
const TOKENS = { ...RESTART, expectsExclusion: false } as const;
const SHORT = { timeMax: 1 } as const;

/** Run with TRICORD_EXPLORE=all; some minutes. */
const LARGE: readonly (readonly [name: string, size: Partial<QuorumRules>])[] = [
  ['three clients over a TTL', { clients: 3, ...SHORT }],
  ['three clients over a TTL that lose a reply', { clients: 3, ...SHORT, lostReplies: 1 }],
  ['two clients that lose two replies', { lostReplies: 2 }],
  ['two clients that renew and lose a reply', { renewals: 1, lostReplies: 1 }],
  ['nodes whose clocks differ by up to three TTLs', { skew: [0, 1, 3] }],
  ['a node that restarts empty within two TTLs', RESTART],
  ['a node that restarts empty while leases are renewed twice', { ...RESTART, renewals: 1 }],
];

const SIZES: readonly (readonly [name: string, size: Partial<QuorumRules>])[] = [
  ['two clients over two TTLs', {}],
  ['three clients that lose a reply', { clients: 3, timeMax: 0, lostReplies: 1 }],
  ['two clients that lose two replies', { ...SHORT, lostReplies: 2 }],
  ['two clients that renew and lose a reply', { ...SHORT, renewals: 1, lostReplies: 1 }],
  ['a node whose clock is three TTLs ahead', { ...SHORT, skew: [0, 0, 3] }],
  ['a node that restarts empty while leases are renewed', { ...SHORT, ...RESTART, renewals: 1 }],
  ...(process.env.TRICORD_EXPLORE === 'all' ? LARGE : []),
];

for (const [name, size] of SIZES) {
  test(`one holder and rising tokens, whatever is lost, late or paused: ${name}`, () => {
    const verdict = explore(quorumModel({ ...DESIGN, ...size }), 2_000_000);
    console.log(`${name}: ${verdict.states} states`);
    expect(verdict).toMatchObject({ holds: true });
  }, 120_000);
}

const MUTANTS: readonly (readonly [name: string, rules: Partial<QuorumRules>])[] = [
  ['the write-back does not look whether the vote is still held', { heldCheck: false }],
  ['the tokens are not written back', { writesBack: false }],
  ['the deadline is not compared after the write-back', { deadlineCheck: false }],
  ['a lease counts from its newest vote', { ...SHORT, countsFromFirstSend: false }],
  ['a node that lost its state votes at once', { ...SHORT, ...RESTART, staysOut: false }],
  ['the token is a bare counter', { ...SHORT, ...TOKENS, proposesClock: false }],
  ['clocks differ by a TTL when a node lost its state', { ...SHORT, ...TOKENS, skew: [0, 0, 1] }],
];

for (const [name, rules] of MUTANTS) {
  test(`the exploration finds the fault when ${name}`, () => {
    const verdict = explore(quorumModel({ ...DESIGN, ...rules }), 2_000_000);
    if (!verdict.holds) console.log(`${name}: ${verdict.fault}; ${verdict.trace.join(' ; ')}`);
    expect(verdict).toMatchObject({ holds: false });
  }, 120_000);
}

test('blank nodes begin at once only if nobody can have a lock', () => {
  const verdict = explore(admissionModel({ readsTwice: true, hasReadyStep: true }));
  console.log(`a new deployment: ${verdict.states} states`);
  expect(verdict).toMatchObject({ holds: true });
});

test.for([
  ['are read once', { readsTwice: false, hasReadyStep: true }],
  ['begin without having been ready together', { readsTwice: true, hasReadyStep: false }],
] as const)('the exploration finds the fault when blank nodes %s', ([, rules]) => {
  const verdict = explore(admissionModel(rules));
  if (!verdict.holds) console.log(`${verdict.fault}; ${verdict.trace.join(' ; ')}`);
  expect(verdict).toMatchObject({ holds: false });
});
