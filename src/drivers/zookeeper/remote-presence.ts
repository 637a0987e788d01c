import { abortable, sleep } from '../../core/abort.js';
import { CREATE } from './client.js';
import { errorOf } from './codes.js';
import type { Connection } from './connection.js';
import type { LiveSession } from './live-session.js';

const NO_DATA: Buffer = Buffer.alloc(0);
const RETRY_MS = 200;

/** Ephemeral znodes of this process, each created anew in the next session, until it is withdrawn. */
export interface RemotePresence {
  /** Resolves when it stands for the first time. */
  show(path: string, parent: string, signal?: AbortSignal): Promise<void>;
  withdraw(path: string, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Nothing shown yet. */
export function remotePresence(connection: Connection): RemotePresence {
  const shown = new Map<string, AbortController>();
  const stand = async (
    live: LiveSession,
    path: string,
    parent: string,
    signal: AbortSignal | undefined,
  ): Promise<void> => {
    const created = await abortable(live.ask.create(path, NO_DATA, CREATE.ephemeral), signal);
    if (created.ok) return;
    if (created.kind === 'no-node') {
      await abortable(connection.ensure(live, parent, CREATE.container), signal);
      return stand(live, path, parent, signal);
    }
    if (created.kind !== 'exists') throw errorOf(created, `create ${path}`);
    const stat = await abortable(live.ask.exists(path), signal);
    if (stat.ok && stat.value.ephemeralOwner === live.id) return;
    // Left by our own session before this one; nobody else uses the name.
    if (stat.ok) await abortable(live.ask.remove(path), signal);
    return stand(live, path, parent, signal);
  };
  const keep = async (path: string, parent: string, signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        const waitMs = Number.POSITIVE_INFINITY;
        const live = await connection.current('serve', { signal, waitMs });
        await stand(live, path, parent, signal);
        await abortable(over(live), signal);
      } catch {
        if (signal.aborted) return;
        await sleep(connection.clock, RETRY_MS, { signal, keepAlive: false }).catch(() => {});
      }
    }
  };
  const withdraw = async (path: string, signal?: AbortSignal): Promise<void> => {
    shown.get(path)?.abort();
    shown.delete(path);
    const live = await connection.current('serve no longer', { signal });
    const removed = await abortable(live.ask.remove(path), signal);
    if (!removed.ok && removed.kind !== 'no-node') throw errorOf(removed, `remove ${path}`);
  };
  return {
    async show(path, parent, signal) {
      if (shown.has(path)) return;
      const live = await connection.current('serve', { signal });
      await stand(live, path, parent, signal);
      const controller = new AbortController();
      shown.set(path, controller);
      void keep(path, parent, controller.signal);
    },
    withdraw,
    async close() {
      await Promise.allSettled(Array.from(shown.keys(), (path) => withdraw(path)));
    },
  };
}

/** Resolves when the session has ended: its ephemeral znodes are gone. */
function over(live: LiveSession): Promise<void> {
  return new Promise((resolve) => {
    if (live.ended.aborted) resolve();
    live.ended.addEventListener('abort', () => resolve(), { once: true });
  });
}
