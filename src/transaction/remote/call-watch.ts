import { onAbort } from '../../core/abort.js';
import { type Clock, elapsedMs, instantOf } from '../../core/clock.js';
import { deferred } from '../../core/deferred.js';
import { type CallDesk, isTransient } from './call-desk.js';
import type { CallKey, CallRecord } from './call-record.js';
import type { StandingCall } from './call-session.js';

/** Hears of one call from its opening on, so that what follows a write of one's own is not missed. */
export interface CallWatch extends Disposable {
  /**
   * Waits until the call is as wanted, which must stay so: by what hints tell, by a read where one
   * tells nothing, and now and then without one. `known` is what stood there when the watch was
   * opened, or has been written since: it saves the first read. Rejects with the signal's reason alone:
   * a store that does not answer is asked again.
   */
  until(
    isWanted: (record: CallRecord | undefined) => boolean,
    signal: AbortSignal,
    known?: CallRecord,
  ): Promise<CallRecord | undefined>;
}

/** A lost hint costs so much, in milliseconds; longer for who has waited longer. */
const POLL_MS_MIN = 250;
const POLL_MS_MAX = 2_000;

/** Begins to listen. */
export function watchCall(desk: CallDesk, key: CallKey): CallWatch {
  const { session, clock } = desk;
  let standing: StandingCall | undefined;
  let hintCount = 0;
  let wake = (): void => {};
  const leave = desk.hear(key.callId, (now) => {
    standing = now;
    hintCount += 1;
    wake();
  });
  /** False: hints came meanwhile, and it has to be read again. */
  const look = async (signal: AbortSignal, isHinted: boolean): Promise<boolean> => {
    const before = hintCount;
    try {
      const record = await session.read(key, { signal, isHinted });
      if (hintCount !== before) return standing !== undefined;
      standing = { record };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!isTransient(error)) throw error;
    }
    return true;
  };
  return {
    async until(isWanted, signal, known) {
      const since = instantOf(clock);
      if (hintCount === 0 && known !== undefined) standing = { record: known };
      for (let isHinted = hintCount > 0; ; ) {
        signal.throwIfAborted();
        // Before the read: a change right after it must be heard.
        using next = pause(clock, Math.max(POLL_MS_MIN, elapsedMs(clock, since) / 2), signal);
        wake = next.end;
        const before = hintCount;
        if (standing === undefined && !(await look(signal, isHinted))) continue;
        if (standing !== undefined && isWanted(standing.record)) return standing.record;
        await next.ended;
        isHinted = hintCount !== before;
        if (!isHinted) standing = undefined;
      }
    },
    [Symbol.dispose]: leave,
  };
}

/** Opens a watch for one wait. */
export async function callUntil(
  desk: CallDesk,
  key: CallKey,
  isWanted: (record: CallRecord | undefined) => boolean,
  signal: AbortSignal,
): Promise<CallRecord | undefined> {
  using watch = watchCall(desk, key);
  return await watch.until(isWanted, signal);
}

interface Pause extends Disposable {
  end(): void;
  readonly ended: Promise<void>;
}

function pause(clock: Clock, pollMs: number, signal: AbortSignal): Pause {
  const { promise, resolve } = deferred<void>();
  const delayMs = Math.min(pollMs, POLL_MS_MAX);
  const stops = [
    clock.schedule(delayMs, resolve, { keepAlive: false }),
    onAbort(signal, () => resolve()),
  ];
  return {
    end: () => resolve(),
    ended: promise,
    [Symbol.dispose]() {
      for (const stop of stops) stop();
    },
  };
}
