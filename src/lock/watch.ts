import { onAbort, sleep } from '../core/abort.js';
import { type Deferred, deferred } from '../core/deferred.js';
import { isCoordinationError } from '../core/errors.js';
import type { LockInspection } from './driver.js';
import type { LockEvent } from './lock.js';
import type { LockOffice } from './office.js';

/** A hint may be lost: the resource is looked at so often anyway. */
const LOOK_EVERY_MS = 1_000;
/** However often it changes hands, it is looked at no more often than that. */
const LOOK_MS_MIN = 10;

/** What is seen of a resource now, and each time that other grants hold it, until the signal aborts. */
export async function* watch(
  office: LockOffice,
  resource: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<LockEvent, void, undefined> {
  const { backend, node, onAbort: listen } = office.context;
  const ending = new AbortController();
  const end = (): void => ending.abort();
  const stops = [listen(signal, end), listen(office.closing, end)];
  let changed: Deferred<void> = deferred();
  const hint = (): void => changed.resolve();
  onAbort(ending.signal, hint);
  let seen: string | undefined;
  try {
    backend.watch?.(resource, hint, ending.signal);
    while (!ending.signal.aborted) {
      const inspected = await look(office, resource, ending.signal);
      const facts = inspected === undefined ? seen : factsOf(inspected);
      if (inspected !== undefined && facts !== seen && !ending.signal.aborted) {
        seen = facts;
        yield { ...inspected, state: inspected.holders.length > 0 ? 'held' : 'free' };
      }
      const cancel = node.clock.schedule(LOOK_EVERY_MS, hint);
      await changed.promise;
      cancel();
      await sleep(node.clock, LOOK_MS_MIN, { signal: ending.signal }).catch(() => {});
      // What changes from here on is seen by the look that follows, or hinted at again.
      changed = deferred();
    }
    if (signal?.aborted !== true) office.assertOpen();
  } finally {
    end();
    for (const stop of stops) stop();
  }
}

/** Undefined while the backend cannot tell. */
async function look(
  { context }: LockOffice,
  resource: string,
  signal: AbortSignal,
): Promise<LockInspection | undefined> {
  try {
    return await context.backend.inspect(resource, { signal });
  } catch (error) {
    const isPassing =
      signal.aborted ||
      isCoordinationError(error, 'BACKEND_UNAVAILABLE') ||
      isCoordinationError(error, 'RESULT_UNKNOWN');
    if (isPassing) return undefined;
    throw error;
  }
}

function factsOf({ holders }: LockInspection): string {
  return holders.map(({ grantId, mode }) => `${grantId} ${mode}`).join();
}
