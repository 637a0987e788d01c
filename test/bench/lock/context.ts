// What every bench of the lock is given.

import type { ServerHandle } from '../../servers/handle.js';
import type { Table } from './report.js';

export interface BenchContext {
  readonly redis: ServerHandle;
  /** Where the npm packages to compare with are. */
  readonly peers: string;
  /** A smoke run: everything once, nothing precise. */
  readonly isQuick: boolean;
}

export interface Bench {
  /** `B1`, as it stands in the page. */
  readonly id: string;
  run(context: BenchContext): Promise<readonly Table[]>;
}

/** So many, or enough to see that it works. */
export const count = ({ isQuick }: BenchContext, full: number, quick: number): number =>
  isQuick ? quick : full;
