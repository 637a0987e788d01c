// Goal: the rules of readers and writers on Redis are right, and each of them is needed. Method: as
// in lock-model.test.ts, every reachable state of small systems, then one rule broken at a time.

import { expect, test } from 'vitest';
import { explore } from './explore.js';
import { MODES, type ModeRules, modesModel } from './lock-modes-model.js';

const SMALL = { ttl: 1, timeMax: 1 } as const;

const SIZES: readonly (readonly [name: string, size: Partial<ModeRules>])[] = [
  ['a writer and a reader', {}],
  ['a writer and a reader with a heartbeat each', { ...SMALL, heartbeats: 1 }],
  ['two writers', { nodes: ['w', 'w'] }],
  ['a writer between two readers', { ...SMALL, nodes: ['r', 'w', 'r'] }],
  ['a writer that becomes a reader, and a reader', { nodes: ['d', 'r'] }],
  ['a writer that becomes a reader, and a writer', { nodes: ['d', 'w'] }],
  ['a writer that becomes a reader, and two readers', { nodes: ['d', 'r', 'r'], timeMax: 0 }],
];

for (const [name, size] of SIZES) {
  test(`writers alone, readers together with one token, nobody overtaken: ${name}`, () => {
    const verdict = explore(modesModel({ ...MODES, ...size }));
    console.log(`${name}: ${verdict.states} states`);
    expect(verdict).toMatchObject({ holds: true });
  });
}

const MUTANTS: readonly (readonly [name: string, rules: Partial<ModeRules>])[] = [
  ['readers join readers past a waiting writer', { nodes: ['r', 'w', 'r'], lineFirst: false }],
  ['each reader has a token of its own', { nodes: ['r', 'r'], epoch: 'each its own' }],
  ['a downgrade takes effect with its answer', { nodes: ['d', 'r'], readsFrom: 'answer' }],
  ['a downgrade serves nobody', { nodes: ['d', 'r'], downgradeSettles: false }],
  ['a writer takes one share', { nodes: ['w', 'r'], writerTakesAll: false }],
];

for (const [name, rules] of MUTANTS) {
  test(`the exploration finds the fault when ${name}`, () => {
    const verdict = explore(modesModel({ ...MODES, ...rules }));
    if (!verdict.holds) console.log(`${name}: ${verdict.fault}; ${verdict.trace.join(' ; ')}`);
    expect(verdict).toMatchObject({ holds: false });
  });
}
