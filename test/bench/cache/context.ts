// What every bench of the cache is given.

import type { Table } from '../lock/report.js';

export interface BenchContext {
  /** A smoke run: everything once, nothing precise. */
  readonly isQuick: boolean;
}

export interface Bench {
  /** `C1`, as it stands in the page. */
  readonly id: string;
  run(context: BenchContext): Promise<readonly Table[]>;
}

/** So many, or enough to see that it works. */
export const count = ({ isQuick }: BenchContext, full: number, quick: number): number =>
  isQuick ? quick : full;
