// Goal: whatever is slow, lost or dead, a call is applied once if and only if it was decided, and comes
// to an end. Method: every interleaving of a caller, two servers that take a call from each other, their
// sweeps and lost replies, over the code that the engines run.

import { expect, test } from 'vitest';
import { explore } from '../explore.js';
import { callModel } from './call-world.js';

test('a remote call is atomic and ends, in every interleaving of its caller and two servers', () => {
  const { violation, stuck, stateCount } = explore(callModel());

  expect(violation).toBeUndefined();
  expect(stuck).toBeUndefined();
  expect(stateCount).toBeGreaterThan(1_000);
}, 120_000);
