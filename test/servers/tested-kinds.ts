import type { ServerKind } from './handle.js';

/** The servers that a full run must have run tests on; none of them may count 0. */
export const TESTED_KINDS: readonly ServerKind[] = [
  'redis',
  'zookeeper',
  'postgresql',
  'mariadb',
  'memcached',
];
