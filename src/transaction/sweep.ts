import type { CancelTimer } from '../core/clock.js';
import type { RecoveryHost } from './host.js';
import type { Recovery } from './recover.js';

/** The repeated recovery of one coordinator. */
export interface Sweep {
  /** No further pass; one that is under way ends with the coordinator's `stopped` signal. */
  stop(): void;
}

/** The spread of the interval: nodes that were started together do not sweep together for long. */
const JITTER = 0.25;

/**
 * Recovers at once and then every `sweepMs`, give or take a quarter. Never keeps a process running.
 */
export function startSweep(host: RecoveryHost, recovery: Recovery, sweepMs: number): Sweep {
  const { clock, random, channels } = host;
  let cancel: CancelTimer = () => {};
  let isStopped = sweepMs === Number.POSITIVE_INFINITY;

  const plan = (delayMs: number): void => {
    if (!isStopped) cancel = clock.schedule(delayMs, sweep, { keepAlive: false });
  };
  const sweep = (): void => {
    recovery
      .recover(host.stopped, true)
      .catch((error: unknown) => channels.failed.publish(() => ({ operation: 'sweep', error })))
      .finally(() => plan(sweepMs * (1 + JITTER * (2 * random.fraction() - 1))))
      // The publishing itself may throw, if a payload does; the sweep goes on.
      .catch(() => {});
  };
  plan(0);
  return {
    stop() {
      isStopped = true;
      cancel();
    },
  };
}
