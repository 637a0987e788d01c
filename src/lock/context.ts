import type { onAbort } from '../core/abort.js';
import type { Alarms } from '../core/alarms.js';
import type { LockChannels } from './diagnostics.js';
import type { LockBackend, LockNode } from './driver.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { QueueLimits } from './node-grants.js';
import type { LockRecorder } from './statistics.js';
import type { WorkCount } from './work-count.js';

/** What all resources of one lock share. */
export interface LockContext {
  readonly node: LockNode;
  readonly backend: LockBackend;
  readonly backendName: string;
  readonly keeper: LeaseKeeper;
  readonly recorder: LockRecorder;
  readonly channels: LockChannels;
  readonly limits: QueueLimits;
  readonly work: WorkCount;
  /** When waits end. They keep the process running. */
  readonly waitEnds: Alarms;
  /** When releases that nobody answers are over. */
  readonly releaseEnds: Alarms;
  /** Listens to signals that many share. */
  readonly onAbort: typeof onAbort;
}
