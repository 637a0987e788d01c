import { describe, expect, test } from 'vitest';
import { explore } from './explore.js';
import { type Fault, twoPhaseWorld, type WorldOptions } from './two-phase-world.js';

/**
 * Goal: the protocol keeps its promise in every order of events, not only in those that occurred to
 * us. Method: the machines that run in production are driven through all reachable states of a small
 * world, with the coordinator and recoverers stopping anywhere, requests delayed and replies lost.
 */
describe('two-phase commit with presumed abort and incarnation fencing', () => {
  const worlds: readonly (readonly [string, WorldOptions])[] = [
    ['two branches, two recoverers, one loss', { branches: 2, recoverers: 2, lossesMax: 1 }],
    ['two branches, one recoverer, three losses', { branches: 2, recoverers: 1, lossesMax: 3 }],
    // Eleven seconds more with a loss, and nothing that two branches do not show: on demand.
    [
      'three branches, one recoverer',
      { branches: 3, recoverers: 1, lossesMax: process.env.TRICORD_EXPLORE === 'deep' ? 1 : 0 },
    ],
    [
      'two branches that may have read only',
      { branches: 2, recoverers: 1, lossesMax: 2, mayReadOnly: true },
    ],
    [
      'a branch and a last resource, two recoverers, two losses (L1)',
      { branches: 2, recoverers: 2, lossesMax: 2, hasLastResource: true },
    ],
    [
      'two branches and a last resource, one recoverer (L1)',
      { branches: 3, recoverers: 1, lossesMax: 0, hasLastResource: true },
    ],
    [
      'one branch in one phase, replies lost',
      { branches: 1, recoverers: 1, lossesMax: 3, isOnePhase: true },
    ],
  ];
  for (const [name, options] of worlds) {
    test(`is atomic, valid, stable and never lies, and can always be finished: ${name}`, () => {
      const { stateCount, violation, stuck } = explore(twoPhaseWorld(options));
      expect(violation).toBeUndefined();
      expect(stuck).toBeUndefined();
      expect(stateCount).toBeGreaterThan(10);
    }, 120_000);
  }

  const faults: readonly (readonly [Fault, Partial<WorldOptions>, RegExp])[] = [
    ['decision without the incarnation check', {}, /atomicity|stability/],
    ['recoverer without a fence', {}, /atomicity|stability/],
    ['record forgotten before all acknowledgements', {}, /atomicity|stability/],
    ['lost decision treated as failure', {}, /atomicity|stability|false failure/],
    ['lost decision treated as success', {}, /./],
    ['lost vote treated as yes', {}, /./],
    ['commit on absence', {}, /./],
    ['fenced after a lost reply treated as abort', {}, /false failure/],
    ['time-out while deciding treated as abort', {}, /./],
    ['acknowledged before committed', {}, /./],
    ['own sweep of a transaction under way', {}, /./],
    ['settled without a mark', { hasLastResource: true }, /./],
    ['last resource committed first', { hasLastResource: true }, /./],
  ];
  for (const [fault, changes, expected] of faults) {
    test(`needs its rule: with "${fault}" a trace leads to a broken promise`, () => {
      const options = { branches: 2, recoverers: 1, lossesMax: 1, faults: [fault], ...changes };
      const { violation } = explore(twoPhaseWorld(options));
      expect(violation?.what).toMatch(expected);
      expect(violation?.trace.length).toBeGreaterThan(0);
    });
  }
});
