import { onAbort } from '../../../core/abort.js';
import type { CancelTimer } from '../../../core/clock.js';
import { encodeTag } from '../keys.js';
import { keyOf, type RedisLockContext } from './context.js';
import type { Inbox } from './inbox.js';
import { WATCH } from './look.js';

/** Who in this process watches which resource. */
export interface Watching {
  watch(resource: string, changed: () => void, signal: AbortSignal): void;
  /** A watched resource may have changed hands. */
  tell(tag: string): void;
  /** Any of them may have: messages may have been missed. */
  tellAll(): void;
  close(): void;
}

/** For how long the server is told to publish, and how often that is said again. */
const WATCHED_MS = 90_000;
const REPEAT_MS = 30_000;

/**
 * Watchers register in the record of their resource, with an expiry, so that only what is watched
 * is published. What is lost meanwhile (a restart, a fail-over) comes back with the next time.
 */
export function watching(context: RedisLockContext, inbox: Inbox): Watching {
  const { calls, node } = context;
  const audiences = new Map<string, Set<() => void>>();
  const repeats = new Map<string, CancelTimer>();
  let isClosed = false;

  const register = (resource: string, tag: string): void => {
    calls.script(WATCH, [keyOf(context, resource)], [WATCHED_MS]).then(
      () => tell(tag),
      // A hint that does not come is nothing lost: who watches looks from time to time.
      () => {},
    );
    const again = (): void => register(resource, tag);
    repeats.set(tag, node.clock.schedule(REPEAT_MS, again, { keepAlive: false }));
  };
  const tell = (tag: string): void => {
    for (const changed of audiences.get(tag) ?? []) changed();
  };
  return {
    watch(resource, changed, signal) {
      if (isClosed || signal.aborted) return;
      const tag = encodeTag(resource);
      const audience = audiences.get(tag) ?? new Set();
      // The same callback may watch twice.
      const seat = (): void => changed();
      audience.add(seat);
      if (audience.size === 1) {
        audiences.set(tag, audience);
        inbox.watch(tag);
        register(resource, tag);
      }
      onAbort(signal, () => {
        audience.delete(seat);
        if (audience.size > 0 || audiences.get(tag) !== audience) return;
        audiences.delete(tag);
        repeats.get(tag)?.();
        repeats.delete(tag);
        inbox.unwatch(tag);
      });
    },
    tell,
    tellAll() {
      for (const tag of audiences.keys()) tell(tag);
    },
    close() {
      isClosed = true;
      for (const cancel of repeats.values()) cancel();
      audiences.clear();
    },
  };
}
