import { abortable, abortScope } from '../core/abort.js';
import { systemClock } from '../core/clock.js';

const CALL_TIMEOUT_MS = 10_000;

/** One call to a server, which may take ten seconds. */
export async function withTimeout<T>(
  what: string,
  call: (signal: AbortSignal) => Promise<T> | T,
): Promise<T> {
  const timeoutReason = (): unknown =>
    new Error(`${what} did not answer within ${CALL_TIMEOUT_MS} ms`);
  using scope = abortScope({ clock: systemClock, timeoutMs: CALL_TIMEOUT_MS, timeoutReason });
  return await abortable((async () => call(scope.signal))(), scope.signal);
}
