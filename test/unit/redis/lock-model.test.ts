// Goal: the rules of the lock on Redis are right, and each of them is needed. Method: every reachable
// state of small systems is visited; then one rule is broken at a time, and must be missed.

import { expect, test } from 'vitest';
import { explore } from './explore.js';
import { DESIGN, lockModel, type Rules } from './lock-model.js';

const SMALL = { ttl: 1, timeMax: 2 } as const;
const RESTART = {
  ...SMALL,
  attempts: 2,
  restarts: 1,
  expectExclusion: false,
} as const;

const SIZES: readonly (readonly [name: string, size: Partial<Rules>])[] = [
  ['two nodes with a heartbeat each', { ...SMALL, heartbeats: 1 }],
  ['two nodes of which one gives up', { ...SMALL, cancels: 1 }],
  ['two nodes and provisional grants', { ttl: 2, timeMax: 2 }],
  ['two nodes that send again', { ...SMALL, timeMax: 1, resends: 1 }],
  ['two nodes that renew', { ...SMALL, renewals: 1 }],
  ['two nodes that renew what was pushed', { ttl: 2, timeMax: 2, renewals: 1 }],
  ['a server that restarts empty: the fence', { ...RESTART, attempts: 1, nodes: 2 }],
];

for (const [name, size] of SIZES) {
  test(`one holder, in order, nobody stuck, whatever is lost or late: ${name}`, () => {
    const verdict = explore(lockModel({ ...DESIGN, ...size }));
    console.log(`${name}: ${verdict.states} states`);
    expect(verdict).toMatchObject({ holds: true });
  });
}

const MUTANTS: readonly (readonly [name: string, rules: Partial<Rules>])[] = [
  ['a push is believed for a TTL from its receipt', { ...SMALL, push: 'its receipt' }],
  ['a push counts from the newest send', { ...SMALL, heartbeats: 1, push: 'the newest send' }],
  ['a push without a sighting counts for the whole TTL', { push: 'the whole TTL' }],
  ['a reply is dated by the newest send', { resends: 1, replyDatedBy: 'the newest send' }],
  ['an acquire sent twice is two', { resends: 1, acquireIsIdempotent: false }],
  ['no tombstones', { ...SMALL, cancels: 1, tombstones: false }],
  ['a release does not look at the id', { releaseLooksAtId: false }],
  ['a cancel leaves what was granted meanwhile', { cancels: 1, cancelReleases: false }],
  ['a dead waiter at the head stays', { ...SMALL, prunesDead: false }],
  ['a heartbeat does not run the loop that grants', { heartbeatSettles: false }],
  ['a dead waiter is granted', { ...SMALL, looksAtLife: false }],
  [
    'an acquire takes what is free past the line',
    { ...SMALL, nodes: 3, waiterTtl: 3, acquireWaitsItsTurn: false },
  ],
  ['the fence is a bare counter', { ...RESTART, fenceFollowsClock: false }],
  ['the clock of the server is behind after a restart', { ...RESTART, clockStepBack: 3 }],
];

for (const [name, rules] of MUTANTS) {
  test(`the exploration finds the fault when ${name}`, () => {
    const verdict = explore(lockModel({ ...DESIGN, ...rules }));
    if (!verdict.holds) console.log(`${name}: ${verdict.fault}; ${verdict.trace.join(' ; ')}`);
    expect(verdict).toMatchObject({ holds: false });
  });
}
