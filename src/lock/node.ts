import type { Clock } from '../core/clock.js';
import { newIncarnation } from '../core/ids.js';
import type { Random } from '../core/random.js';
import type { LockNode } from './driver.js';

/** What makes one open lock of this process a contender: its name, its life, and its grant ids. */
export function lockNode(options: {
  readonly nodeId: string;
  readonly clock: Clock;
  readonly random: Random;
}): LockNode {
  const { nodeId, clock, random } = options;
  const incarnation = newIncarnation(random);
  let grants = 0;
  return {
    nodeId,
    incarnation,
    clock,
    random,
    nextGrantId() {
      grants += 1;
      return `${incarnation}.${grants.toString(36)}`;
    },
  };
}
