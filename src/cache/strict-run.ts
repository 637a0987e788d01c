import { sleep } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import type { Fill } from './authority.js';
import { keepRenewed } from './claims.js';
import type { Deck } from './deck.js';
import type { StrictCalls } from './strict-calls.js';
import {
  CLOCK_DRIFT,
  nextStep,
  type StrictEvent,
  type StrictPolicy,
  type StrictWrite,
  strictWaitMs,
} from './strict-write.js';
import { unreachable } from './tier-calls.js';

/** What of a cache a strict write needs. */
export type StrictDeck = Pick<Deck, 'settings' | 'renewals'> & {
  readonly calls: StrictCalls;
  readonly backend: string;
};

/** One write of a strict cache on its way. */
export interface StrictJob {
  readonly key: string;
  /** Names its reservation; another one at each call, unless several processes must know it. */
  readonly token: () => string;
  readonly holdMs: number;
  readonly fence?: bigint | undefined;
  /** Whether the source is changed under the reservation. */
  readonly commits: boolean;
  /** What is stored in the end; undefined: the entry is removed. */
  readonly fill?: Fill | undefined;
}

/** Carries a strict write out. */
export interface StrictRun {
  /** Goes on until the source is to be changed, or all is done; rejects as any write does. */
  advance(timeoutMs: number): Promise<'commit' | 'done'>;
  /** The source was changed, or may have been; with what is to be stored, where that is known. */
  committed(stored?: Fill): void;
  /** Prolongs nothing any more: what is reserved ends by itself. */
  stop(): void;
}

/** How long a write of a strict cache waits at least, in milliseconds. */
export function strictDelayMs(strictLeaseMs: number): number {
  return strictWaitMs({ leaseMs: strictLeaseMs, drift: CLOCK_DRIFT });
}

/** Begins where `state` says. Sends nothing yet. */
export function strictRun(deck: StrictDeck, job: StrictJob, state: StrictWrite): StrictRun {
  const { settings, calls, renewals, backend } = deck;
  const { clock, strictLeaseMs, name } = settings;
  const { key, holdMs, commits, fence, fill } = job;
  const policy: StrictPolicy = {
    leaseMs: strictLeaseMs,
    holdMs,
    drift: CLOCK_DRIFT,
    commits,
  };
  const nowMs = neverSlow(clock);
  let now = state;
  let stored = commits ? undefined : fill;
  let token = job.token();
  let stop = (): void => {};
  const happened = (event: StrictEvent): void => {
    now = nextStep(policy, now, event);
  };

  const reserve = async (timeoutMs: number): Promise<void> => {
    stop();
    token = job.token();
    const own = token;
    const sentMs = nowMs();
    await calls.reserve(key, own, { holdMs, timeoutMs }, fence);
    happened({ type: 'reserved', sentMs });
    stop = keepRenewed({
      ...{ forMs: holdMs, renewals },
      renew: (timeoutMs) => calls.renew(key, own, { holdMs, timeoutMs }),
      asking() {
        const sentMs = nowMs();
        return () => happened({ type: 'renewed', sentMs });
      },
    });
  };
  const settle = async (
    what: Fill | undefined,
    times: Parameters<StrictCalls['conclude']>[3],
  ): Promise<void> => {
    const answer = await calls.conclude(key, token, what, times);
    happened({ type: 'settled', isOwn: answer === 'own', atMs: nowMs() });
  };
  const step = async (leftMs: number): Promise<void> => {
    switch (now.step) {
      case 'reserve':
        // The rest is for the wait, and half for the end.
        return reserve((leftMs - strictWaitMs(policy)) / 2);
      case 'wait':
        await pass(clock, strictWaitMs(policy));
        return happened({ type: 'waited' });
      case 'clear':
        return settle(undefined, { timeoutMs: leftMs, holdMs });
      default:
        // After a reservation that was lost, nobody knows whose commit was the last.
        await settle(now.isCommitted && !now.mustOwn ? undefined : stored, { timeoutMs: leftMs });
        if (now.step === 'done') stop();
    }
  };
  return {
    async advance(timeoutMs) {
      const untilMs = clock.monotonicMs() + timeoutMs;
      while (now.step !== 'commit' && now.step !== 'done') {
        const leftMs = untilMs - clock.monotonicMs();
        const neededMs = now.step === 'reserve' ? strictWaitMs(policy) : 0;
        if (leftMs <= neededMs) throw unreachable(name, backend, key, LOST);
        await step(leftMs);
      }
      return now.step;
    },
    committed(what) {
      stored = what;
      happened({ type: 'committed' });
    },
    stop: () => stop(),
  };
}

const LOST = new Error('the reservation of the key ended before its writer was done');

/** Waits by the monotonic clock: timers may come a little early. */
export async function pass(clock: Clock, forMs: number): Promise<void> {
  const untilMs = clock.monotonicMs() + forMs;
  for (let leftMs = forMs; leftMs > 0; leftMs = untilMs - clock.monotonicMs()) {
    await sleep(clock, leftMs);
  }
}

/** A clock that counts what either clock of the machine has counted: also while it was suspended. */
function neverSlow(clock: Clock): () => number {
  let [monotonicMs, wallMs, sumMs] = [clock.monotonicMs(), clock.wallMs(), 0];
  return () => {
    const [monotonic, wall] = [clock.monotonicMs(), clock.wallMs()];
    sumMs += Math.max(monotonic - monotonicMs, wall - wallMs, 0);
    [monotonicMs, wallMs] = [monotonic, wall];
    return sumMs;
  };
}
